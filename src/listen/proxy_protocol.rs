//! The PROXY protocol, versions 1 and 2: whom a load balancer speaks for.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! Where a listener asks for it, it is required on every connection and believed only from trusted proxies; it is never
//! guessed, because a client that may choose whether to send it could choose its own address.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The addresses in a header, or none when the proxy speaks for itself (LOCAL, UNKNOWN).
pub(super) type Addresses = Option<Ends>;

/// The two ends of the proxied connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Why a header was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the connection did not begin with a PROXY header, which this listener requires")]
    Malformed,
    #[error("the PROXY header is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the connection ended within the PROXY header")]
    Incomplete,
    #[error("reading the PROXY header: {0}")]
    Read(#[from] std::io::Error),
}

/// Version 2 may carry a client certificate's names and the like; more than this is not a load balancer's doing.
const LONGEST: usize = 4096;

/// Reads one header and returns it with the bytes that came after it. The caller holds the deadline.
pub(super) async fn read<T: AsyncRead + Unpin>(stream: &mut T) -> Result<(Addresses, Bytes), Error> {
    let mut buffer = BytesMut::with_capacity(256);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(Error::Incomplete);
        }
        match parse(&buffer)? {
            Some((addresses, length)) => return Ok((addresses, buffer.split_off(length).freeze())),
            None if buffer.len() >= LONGEST => return Err(Error::TooLong),
            None => {}
        }
    }
}

/// `None` while more bytes are needed; else what it says and how long it is.
fn parse(bytes: &[u8]) -> Result<Option<(Addresses, usize)>, Error> {
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return Ok(None);
    }
    match result {
        HeaderResult::V1(Ok(header)) => Ok(Some((v1_addresses(header.addresses), header.header.len()))),
        HeaderResult::V2(Ok(header)) => {
            let addresses = match header.command {
                v2::Command::Local => None,
                v2::Command::Proxy => v2_addresses(header.addresses),
            };
            Ok(Some((addresses, header.len())))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(Error::Malformed),
    }
}

fn v1_addresses(addresses: v1::Addresses) -> Addresses {
    match addresses {
        v1::Addresses::Tcp4(ip) => Some(ends(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Tcp6(ip) => Some(ends(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Unknown => None,
    }
}

fn v2_addresses(addresses: v2::Addresses) -> Addresses {
    match addresses {
        v2::Addresses::IPv4(ip) => Some(ends(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v2::Addresses::IPv6(ip) => Some(ends(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

fn ends(peer: SocketAddr, local: SocketAddr) -> Ends {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Ends {
        peer: canonical(peer),
        local: canonical(local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [V2, &[0x20 | command, family], &length, payload].concat()
    }

    async fn read_all(bytes: &[u8]) -> Result<(Addresses, Bytes), Error> {
        read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        // An operator behind HAProxy or a cloud load balancer: the log and the limits see the client, not the balancer.
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xBB];
        let with_extra = [&v4[..], &[4, 0, 2, 0, 0]].concat();
        let cases: [(Vec<u8>, Option<&str>); 8] = [
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(),
                Some("192.0.2.7:12345"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n".to_vec(),
                Some("[2001:db8::7]:12345"),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n".to_vec(),
                Some("192.0.2.7:1"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v2(1, 0x11, &v4), Some("192.0.2.7:12345")),
            (v2(1, 0x11, &with_extra), Some("192.0.2.7:12345")),
            (v2(0, 0x11, &v4), None),
            (v2(0, 0x00, &[]), None),
        ];
        for (header, expected) in cases {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (addresses, rest) = read_all(&bytes).await.unwrap();
            assert_eq!(
                addresses.map(|ends| ends.peer),
                expected.map(|peer| peer.parse().unwrap()),
                "{header:?}"
            );
            assert_eq!(&rest[..], b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_good_header_is_refused() {
        // An operator: nobody reaches the service under an address of their own choosing, or fills memory with a header.
        let endless = [v2(1, 0x11, &[]).as_slice(), &[0; 9000]].concat();
        let mut long = v2(1, 0x00, &[0; 8000]);
        long.truncate(7000);
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 999.0.2.7 198.51.100.1 12345 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345",
            b"\x16\x03\x01\x02\x00",
            &endless,
            &long,
            b"",
        ] {
            assert!(
                read_all(bytes).await.is_err(),
                "{:?}",
                &bytes[..bytes.len().min(60)]
            );
        }
    }
}
