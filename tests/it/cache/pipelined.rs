//! R3, over a connection whose client does not wait for one answer before it asks for the next (RFC 9112, 9.3.2): the
//! answers come whole and in order, whether docxy has the bytes in memory, in a file that the kernel sends, or not yet.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::support::{Cached, blob_path, image_of};
use crate::support::image::Content;

/// From what is kept in memory to what goes from the file in several pieces.
const SIZES: [usize; 5] = [1000, 65_536, 200_000, 1_500_000, 5_000_000];

#[tokio::test]
async fn pipelined_blobs_come_whole_and_in_order() {
    // A client of ours or somebody's proxy: no byte of another blob, no zeros, no connection that is cut.
    let docxy = Cached::of(image_of(300, &SIZES), "").await;
    let image = docxy.image();
    let blobs = image.layer_blobs();
    let mut asked: Vec<&Content> = Vec::new();
    for n in 0..16 {
        asked.push(blobs[n * 7 % blobs.len()]);
    }
    let mut right = 0;
    for buffer in [None, None, Some(4096)] {
        let mut stream = connect(&docxy, buffer).await;
        let requests: String = asked
            .iter()
            .map(|blob| request(&docxy, &blob_path(blob)))
            .collect();
        stream.write_all(requests.as_bytes()).await.unwrap();
        for (n, blob) in asked.iter().enumerate() {
            let body = answer(&mut stream).await;
            assert!(
                body == blob.bytes,
                "answer {n}: {} bytes of {}",
                body.len(),
                blob.bytes.len()
            );
            right += 1;
        }
    }
    println!(
        "R3 pipelined GETs of whole blobs, cold, warm, warm to a small window: {right} of 48 right and in order"
    );
    assert_eq!(right, 48);
}

async fn connect(docxy: &Cached, buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(buffer) = buffer {
        socket.set_recv_buffer_size(buffer).unwrap();
    }
    socket.connect(docxy.app.addr()).await.unwrap()
}

fn request(docxy: &Cached, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", docxy.app.addr())
}

/// The body of the next answer, which must be a 200 with a length.
async fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    body
}
