//! The names of traces and spans, and the header that carries them (W3C Trace Context, level 1).

use std::fmt;

use http::HeaderValue;

/// Sixteen bytes, not all of them zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Eight bytes, not all of them zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// What a caller says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    pub trace: TraceId,
    pub span: SpanId,
    /// The caller records this trace.
    pub is_sampled: bool,
}

impl TraceId {
    pub fn random() -> Self {
        Self(rand::random::<u128>().max(1).to_be_bytes())
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    pub fn random() -> Self {
        Self(rand::random::<u64>().max(1).to_be_bytes())
    }

    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl Parent {
    /// `00-TRACE-SPAN-FLAGS`. What a later version appends is not looked at; what is no header of this kind is none.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let mut parts = text.trim_ascii().splitn(5, '-');
        let version = hex::<1>(parts.next()?)?;
        let trace = u128::from_be_bytes(hex(parts.next()?)?);
        let span = u64::from_be_bytes(hex(parts.next()?)?);
        let flags = hex::<1>(parts.next()?)?;
        let is_known = version == [0] && parts.next().is_none() || !matches!(version, [0 | 0xff]);
        (is_known && trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace.to_be_bytes()),
            span: SpanId(span.to_be_bytes()),
            is_sampled: flags[0] & 1 == 1,
        })
    }
}

/// Lower case alone, as the specification demands.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({:016x})", u64::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_parent_is_one() {
        // A trace that hangs below a name that nobody has is lost for whoever looks for it.
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        let of = |text: &str| Parent::parse(&HeaderValue::from_str(text).unwrap());
        let whole = of(&format!("00-{trace}-{span}-01")).unwrap();
        assert_eq!(whole.trace.to_string(), trace);
        assert_eq!(format!("{:?}", whole.span), format!("SpanId({span})"));
        assert!(whole.is_sampled);
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true)] {
            let seen = of(&format!("00-{trace}-{span}-{flags}")).unwrap();
            assert_eq!(seen.is_sampled, is_sampled, "{flags}");
        }
        assert!(
            of(&format!("01-{trace}-{span}-01-later")).is_some(),
            "a later version"
        );
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("00-{zeros}-{span}-01"),
            format!("00-{trace}-{}-01", &zeros[..16]),
            format!("ff-{trace}-{span}-01"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-{trace}0-{span}-01"),
        ] {
            assert_eq!(of(&bad), None, "{bad}");
        }
    }
}
