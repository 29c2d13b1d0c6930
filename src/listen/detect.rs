//! Which protocol a connection speaks, from its first bytes.

/// What the client began to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A TLS record that holds a handshake.
    Tls,
    Http1,
    /// HTTP/2 without TLS and without an upgrade ("prior knowledge").
    Http2,
}

/// The request-line-like beginning of HTTP/2's client preface (RFC 9113, 3.4). What follows it is hyper's to check.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// TLS's content type for a handshake record (RFC 8446, 5.1). No HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// How many bytes are enough to tell, always.
pub(super) const ENOUGH: usize = HTTP2_PREFACE.len();

/// `None` while more bytes are needed.
pub(super) fn detect(bytes: &[u8]) -> Option<Protocol> {
    match bytes {
        [] => None,
        [TLS_HANDSHAKE, ..] => Some(Protocol::Tls),
        _ if bytes.starts_with(HTTP2_PREFACE) => Some(Protocol::Http2),
        _ if HTTP2_PREFACE.starts_with(bytes) => None,
        _ => Some(Protocol::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_told_as_early_as_it_can_be() {
        // Every client: whichever protocol it begins, byte by byte or at once, is the one it gets.
        let cases: [(&[u8], Option<Protocol>); 8] = [
            (b"", None),
            (b"\x16", Some(Protocol::Tls)),
            (b"\x16\x03\x01", Some(Protocol::Tls)),
            (b"G", Some(Protocol::Http1)),
            (b"PR", None),
            (b"PROPFIND", Some(Protocol::Http1)),
            (b"PRI * HTTP/2.0\r\n", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Some(Protocol::Http2)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(detect(bytes), expected, "{bytes:?}");
        }
        assert!(detect(&HTTP2_PREFACE[..ENOUGH]).is_some());
    }
}
