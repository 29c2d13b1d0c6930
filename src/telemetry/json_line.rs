//! One JSON line of the log, made field by field into the buffer it is written from. It is what the general logger would
//! make (a test of `access_log` compares them), in a quarter of the time: a request has such a line, and few fields of
//! it hold anything that must be escaped.

use std::net::IpAddr;

/// A line that has begun.
#[derive(Debug)]
pub(super) struct JsonLine<'a>(&'a mut Vec<u8>);

/// What a field may hold.
pub(super) trait Value {
    fn append(self, bytes: &mut Vec<u8>);
}

/// Text in which nothing is to be escaped, by its grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<'a>(pub &'a str);

impl<'a> JsonLine<'a> {
    /// `time` as the log writes it; `message` is the first of the fields.
    pub fn begin(bytes: &'a mut Vec<u8>, time: &str, message: Plain<'static>) -> Self {
        bytes.extend_from_slice(br#"{"timestamp":""#);
        bytes.extend_from_slice(time.as_bytes());
        bytes.extend_from_slice(br#"","level":"INFO","fields":{"message":"#);
        message.append(bytes);
        Self(bytes)
    }

    /// `name` with what stands around it: `,"name":`.
    pub fn field(&mut self, name: &'static str, value: impl Value) {
        self.0.extend_from_slice(name.as_bytes());
        value.append(self.0);
    }

    /// As [`Self::field`]; what is not known is left out.
    pub fn known(&mut self, name: &'static str, value: Option<impl Value>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    pub fn end(self, target: Plain<'static>) {
        self.0.extend_from_slice(br#"},"target":"#);
        target.append(self.0);
        self.0.extend_from_slice(b"}\n");
    }
}

impl Value for Plain<'_> {
    fn append(self, bytes: &mut Vec<u8>) {
        bytes.push(b'"');
        bytes.extend_from_slice(self.0.as_bytes());
        bytes.push(b'"');
    }
}

impl Value for &str {
    fn append(self, bytes: &mut Vec<u8>) {
        append_serialized(&self, bytes);
    }
}

impl Value for u64 {
    fn append(self, bytes: &mut Vec<u8>) {
        append_serialized(&self, bytes);
    }
}

impl Value for u16 {
    fn append(self, bytes: &mut Vec<u8>) {
        append_serialized(&self, bytes);
    }
}

impl Value for IpAddr {
    fn append(self, bytes: &mut Vec<u8>) {
        let Self::V4(address) = self else {
            return append_serialized(&self, bytes);
        };
        for (before, part) in [b'"', b'.', b'.', b'.'].into_iter().zip(address.octets()) {
            bytes.push(before);
            append_serialized(&part, bytes);
        }
        bytes.push(b'"');
    }
}

fn append_serialized(value: &impl serde::Serialize, bytes: &mut Vec<u8>) {
    // Text and numbers into memory can't fail.
    let _ = serde_json::to_writer(bytes, value);
}
