//! The pair of sockets: lines of JSON, and descriptors with the first of them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Blocking;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Descriptors that one message takes (`SCM_MAX_FD` of Linux).
pub const MOST: usize = 253;
/// Longest line.
const LONGEST: usize = 1 << 20;
/// For the first line, which lies there when the successor begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two ends.
pub fn pair() -> io::Result<(Blocking, Blocking)> {
    Blocking::pair()
}

/// Sends the first line with its descriptors; there is room for it in the socket.
pub fn send_first(
    socket: &Blocking,
    word: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(format!("more than {MOST} listening sockets")));
    }
    let line = line(word)?;
    let sent = sendmsg(socket, &[IoSlice::new(&line)], &mut control, SendFlags::empty())?;
    let mut socket = socket;
    socket.write_all(line.get(sent..).unwrap_or_default())
}

/// Receives it. Nothing else is sent before it is answered.
pub fn receive_first<T: DeserializeOwned>(socket: &Blocking) -> io::Result<(T, Vec<OwnedFd>)> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; LONGEST];
    let received = recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    buffer.truncate(received.bytes);
    let mut socket = socket;
    while buffer.last() != Some(&b'\n') && buffer.len() < LONGEST {
        let mut more = [0; 4096];
        let count = socket.read(&mut more)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend(more.iter().take(count));
    }
    socket.set_read_timeout(None)?;
    Ok((serde_json::from_slice(&buffer)?, descriptors))
}

/// The end that is read.
#[derive(Debug)]
pub struct Hearing {
    from: BufReader<OwnedReadHalf>,
    /// What has come of the next line.
    line: Vec<u8>,
}

/// The end that is written.
#[derive(Debug)]
pub struct Telling(OwnedWriteHalf);

/// Both halves of one end, on the runtime.
pub fn halves(socket: Blocking) -> io::Result<(Hearing, Telling)> {
    socket.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(socket)?.into_split();
    let hearing = Hearing {
        from: BufReader::new(read),
        line: Vec::new(),
    };
    Ok((hearing, Telling(write)))
}

impl Hearing {
    /// The next word that is known here; `None`: the other side is gone. May be dropped at any time.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            let read = self.from.read_until(b'\n', &mut self.line).await;
            if read.is_err() || !self.line.ends_with(b"\n") {
                return None;
            }
            let word = serde_json::from_slice(&self.line);
            self.line.clear();
            match word {
                Ok(word) => return Some(word),
                Err(error) => tracing::debug!(%error, "a hand-over's unknown word is passed over"),
            }
        }
    }
}

impl Telling {
    pub async fn say(&mut self, word: &impl Serialize) -> io::Result<()> {
        self.0.write_all(&line(word)?).await
    }
}

fn line(word: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn sockets_and_words_arrive_as_they_were_sent() {
        // What the successor listens on must be the very socket, and what a newer version says must not stop an older one.
        let (old, new) = pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send_first(&old, &"first", &[listener.as_fd()]).unwrap();
        let (word, sockets): (String, _) = receive_first(&new).unwrap();
        let socket = TcpListener::from(sockets.into_iter().next().unwrap());
        assert_eq!(word, "first");
        assert_eq!(socket.local_addr().unwrap(), listener.local_addr().unwrap());

        let ((_, mut telling), (mut hearing, _)) = (halves(old).unwrap(), halves(new).unwrap());
        telling.say(&"unknown").await.unwrap();
        telling.say(&7).await.unwrap();
        drop(telling);
        assert_eq!(hearing.next::<u32>().await, Some(7));
    }
}
