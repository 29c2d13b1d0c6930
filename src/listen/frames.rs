//! Follows an HTTP/2 client's frames just far enough to know whether a header block is on its way.
//!
//! The `h2` crate holds a half-received header block for as long as the client likes, and the connection answers pings
//! meanwhile: slowloris by another name. The layout is RFC 9113, sections 3.4 and 4.1.

/// The client's preface, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, in bytes.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// Where in the client's stream of frames we are.
#[derive(Debug)]
pub(super) struct Frames {
    preface_left: usize,
    head: [u8; FRAME_HEAD],
    head_filled: usize,
    payload_left: usize,
    block_open: bool,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            preface_left: PREFACE,
            head: [0; FRAME_HEAD],
            head_filled: 0,
            payload_left: 0,
            block_open: false,
        }
    }

    /// The next bytes the client sent.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.head_filled < FRAME_HEAD {
                let count = (FRAME_HEAD - self.head_filled).min(bytes.len());
                self.head[self.head_filled..self.head_filled + count].copy_from_slice(&bytes[..count]);
                self.head_filled += count;
                bytes = &bytes[count..];
                if self.head_filled == FRAME_HEAD {
                    self.frame_began();
                }
            } else {
                let count = self.payload_left.min(bytes.len());
                self.payload_left -= count;
                bytes = &bytes[count..];
            }
            if self.head_filled == FRAME_HEAD && self.payload_left == 0 {
                self.frame_ended();
            }
        }
    }

    /// The client owes the rest of its preface, of a frame's head or of a header block.
    pub(super) fn is_within_head(&self) -> bool {
        self.preface_left > 0 || self.block_open || (1..FRAME_HEAD).contains(&self.head_filled)
    }

    fn frame_began(&mut self) {
        let [a, b, c, kind, ..] = self.head;
        self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block_open = true;
        }
    }

    fn frame_ended(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.block_open = false;
        }
        self.head_filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 0x4;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [.., a, b, c] = payload.len().to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn a_header_block_is_open_from_its_first_byte_to_its_last() {
        // An operator: a client that dribbles an HTTP/2 header block is found out, however it cuts the block up, and a
        // client that uploads slowly is not mistaken for one.
        let preface = vec![b'P'; PREFACE];
        let begun = [preface, frame(SETTINGS, 0, &[])].concat();
        let cases = [
            (vec![b'P'; PREFACE - 1], true),
            (begun.clone(), false),
            ([&begun[..], &[0, 0]].concat(), true),
            ([&begun[..], &frame(HEADERS, END_HEADERS, b"abc")].concat(), false),
            (
                [&begun[..], &frame(HEADERS, END_HEADERS, b"abc")[..11]].concat(),
                true,
            ),
            ([&begun[..], &frame(HEADERS, 0, b"abc")].concat(), true),
            (
                [
                    &begun[..],
                    &frame(HEADERS, 0, b"abc"),
                    &frame(CONTINUATION, 0, b"d"),
                ]
                .concat(),
                true,
            ),
            (
                [
                    &begun[..],
                    &frame(HEADERS, 0, b"abc"),
                    &frame(CONTINUATION, END_HEADERS, b""),
                ]
                .concat(),
                false,
            ),
            ([&begun[..], &frame(0, 0, &[b'x'; 300])[..200]].concat(), false),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 7, 1000] {
                let mut frames = Frames::new();
                bytes.chunks(piece).for_each(|chunk| frames.feed(chunk));
                assert_eq!(frames.is_within_head(), expected, "{bytes:?} by {piece}");
            }
        }
    }
}
