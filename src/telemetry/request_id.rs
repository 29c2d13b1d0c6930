//! What a request is called in its answer and in the log.

/// Sixteen hex digits, by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId([u8; 16]);

impl RequestId {
    pub fn random() -> Self {
        let chance: [u8; 8] = rand::random();
        let mut digits = [0; 16];
        for (two, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(chance) {
            *two = [byte >> 4, byte & 15].map(|digit| digit + if digit < 10 { b'0' } else { b'a' - 10 });
        }
        Self(digits)
    }

    pub fn as_str(&self) -> &str {
        // Digits are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sixteen_hex_digits() {
        // Whoever looks a request up by what the client was told.
        let ids: Vec<_> = (0..100).map(|_| RequestId::random()).collect();
        for id in &ids {
            let text = id.as_str();
            assert_eq!(text.len(), 16);
            assert_eq!(
                u64::from_str_radix(text, 16).map(|n| format!("{n:016x}")),
                Ok(text.to_owned())
            );
        }
        assert!(ids.iter().skip(1).all(|id| *id != ids[0]));
    }
}
