//! Between two requests of HTTP/1 a connection gives hyper's buffers up after a moment, and nobody notices.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware;
use axum::routing::any;
use docxy::listen::{self, Binding, Config, Listener, Turn};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tower::Service;

use super::{Server, describe, read_to_end, read_until};
use crate::tls::{Authority, handshake, load};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const END: &str = "listener=0\n";

/// Much longer than a connection takes to settle, much shorter than it is kept.
const A_WHILE: Duration = Duration::from_secs(5);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Clone, Copy, Debug)]
enum Wire {
    Plain,
    Tls,
}

/// A server, and the means to connect to it as its clients do.
struct Place {
    server: Server,
    authority: Option<Authority>,
}

impl Place {
    fn new(wire: Wire, config: Config, service: impl docxy::listen::Service) -> Self {
        let Wire::Tls = wire else {
            let server = Server::start(config, service, false, None);
            let authority = None;
            return Self { server, authority };
        };
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let certificates = load(&[authority.write(folder.path(), "a", &["localhost"])]);
        Self {
            server: Server::start(config, service, false, Some(certificates)),
            authority: Some(authority),
        }
    }

    /// Without Nagle's algorithm, whose wait for an acknowledgement a paused clock would not wait for.
    async fn connect(&self) -> Box<dyn Stream> {
        match &self.authority {
            None => {
                let stream = self.server.connect().await;
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Some(authority) => {
                let connecting = handshake(self.server.address, authority.any_client(), "localhost");
                let stream = connecting.await.unwrap();
                stream.get_ref().0.set_nodelay(true).unwrap();
                Box::new(stream)
            }
        }
    }
}

async fn send(stream: &mut impl Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Waits without letting a paused clock jump: the kernel may be late with a packet when the machine has much to do.
async fn awake<T>(waiting: impl Future<Output = T>) -> T {
    let staying_awake = async {
        loop {
            yield_now().await;
        }
    };
    tokio::select! {
        done = waiting => done,
        () = staying_awake => unreachable!("it never ends"),
    }
}

async fn answer(stream: &mut impl Stream) -> String {
    awake(read_until(stream, END)).await
}

async fn ask(stream: &mut impl Stream) {
    send(stream, GET).await;
    let answer = answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A service that knows how many of it there are: hyper holds one for each connection it serves.
#[derive(Clone)]
struct Held {
    router: Router,
    count: Arc<()>,
}

impl Held {
    fn new() -> Self {
        Self {
            router: describe(),
            count: Arc::new(()),
        }
    }
}

impl Service<Request<Incoming>> for Held {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Router as Service<Request<Incoming>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.router.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn hyper_holds_nothing_for_a_client_that_asks_nothing() {
    // An operator with many nodes: a moment after its last answer a connection is no more than a socket, again and
    // again, also after a request that came in pieces.
    const CLIENTS: usize = 5; // all of them take their turn within the time that a connection is kept
    for wire in [Wire::Plain, Wire::Tls] {
        let service = Held::new();
        let count = Arc::clone(&service.count);
        let place = Place::new(wire, Config::default(), service);
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            streams.push(place.connect().await);
        }
        for stream in &mut streams {
            ask(stream).await;
        }
        let busy = Arc::strong_count(&count);
        sleep(A_WHILE).await;
        let resting = Arc::strong_count(&count);
        assert_eq!(busy, resting + CLIENTS, "{wire:?}");
        for stream in &mut streams {
            send(stream, &GET[..7]).await;
            awake(async {
                while Arc::strong_count(&count) == resting {
                    yield_now().await;
                }
            })
            .await;
            sleep(A_WHILE).await;
            assert_eq!(Arc::strong_count(&count), resting + 1, "{wire:?}, half a head");
            send(stream, &GET[7..]).await;
            answer(stream).await;
            sleep(A_WHILE).await;
            assert_eq!(Arc::strong_count(&count), resting, "{wire:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_byte_is_lost_whenever_it_comes() {
    // A client that sends its next request, or a part of it, before, at and after the moment in which its connection
    // settles: every request is answered, in order, on the same connection.
    for wire in [Wire::Plain, Wire::Tls] {
        let place = Place::new(wire, Config::default(), describe());
        let mut stream = place.connect().await;
        for milliseconds in (0..40).chain([150, 1000, 60_000]) {
            ask(&mut stream).await;
            sleep(Duration::from_millis(milliseconds)).await;
        }
        for cut in 0..=GET.len() {
            send(&mut stream, &GET[..cut]).await;
            sleep(Duration::from_millis(cut as u64)).await;
            send(&mut stream, &GET[cut..]).await;
            answer(&mut stream).await;
        }
        for cut in 0..GET.len() {
            send(&mut stream, &[GET, GET, &GET[..cut]].concat()).await;
            answer(&mut stream).await;
            answer(&mut stream).await;
            sleep(A_WHILE).await;
            send(&mut stream, &GET[cut..]).await;
            answer(&mut stream).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_race_with_the_rest_are_answered() {
    // The same client in real time, many times over: the request that arrives in the very moment is not lost either.
    let place = Arc::new(Place::new(Wire::Plain, Config::default(), describe()));
    let clients: Vec<_> = (0..50_u64)
        .map(|client| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                let mut stream = place.connect().await;
                for round in 0..20 {
                    ask(&mut stream).await;
                    sleep(Duration::from_micros(18_000 + client * 80 + round * 10)).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_that_race_with_the_rest_are_granted() {
    // A client that asks for a tunnel on a connection as it settles: what was granted is there.
    let end = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = end.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut server, _)) = end.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = server.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let service = describe().layer(middleware::from_fn(
        move |request: axum::extract::Request, next: middleware::Next| async move {
            let Some(turn) = request.extensions().get::<Turn>() else {
                return next.run(request).await;
            };
            let to = TcpStream::connect(address).await.unwrap();
            let held = Box::new(|_| {});
            turn.into(listen::Next::Relay { to, held });
            Response::new(Body::empty())
        },
    ));
    let listener = Listener::open(&Binding {
        address: "127.0.0.1:0".parse().unwrap(),
        proxy_protocol: false,
        tls: None,
        connect: true,
    })
    .unwrap();
    let at = listener.local_addr();
    let listeners = vec![listener];
    tokio::spawn(listen::serve(
        listeners,
        Config::default(),
        service,
        listen::Drain::never(),
    ));
    let clients: Vec<_> = (0..50_u64)
        .map(|client| {
            tokio::spawn(async move {
                for round in 0..20 {
                    let mut stream = TcpStream::connect(at).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    ask(&mut stream).await;
                    sleep(Duration::from_micros(18_000 + client * 80 + round * 10)).await;
                    send(&mut stream, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
                    let head = read_until(&mut stream, "\r\n\r\n").await;
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    send(&mut stream, b"echo").await;
                    let mut heard = [0; 4];
                    stream.read_exact(&mut heard).await.unwrap();
                    assert_eq!(&heard, b"echo");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_yet_is_not_lost() {
    // A client that pauses in the middle of a layer: however long the end of its answer waits to be sent, it comes,
    // and the next request is answered too.
    const LENGTH: usize = 16 << 20;
    for wire in [Wire::Plain, Wire::Tls] {
        let service = Router::new().fallback(|| async { vec![b'x'; LENGTH] });
        let place = Place::new(wire, Config::default(), service);
        let mut stream = place.connect().await;
        for _ in 0..2 {
            send(&mut stream, GET).await;
            sleep(Duration::from_millis(400)).await;
            read_until(&mut stream, "\r\n\r\n").await;
            let mut body = vec![0; LENGTH];
            stream.read_exact(&mut body).await.unwrap();
            assert!(body.iter().all(|&byte| byte == b'x'), "{wire:?}");
            sleep(Duration::from_millis(400)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_keep_it_begins_with_the_last_answer() {
    // An operator: resting does not prolong an idle connection's life, nor does half of nothing; and under TLS the
    // client is told that the end is one.
    for wire in [Wire::Plain, Wire::Tls] {
        let place = Place::new(wire, Config::default(), describe());
        let mut stream = place.connect().await;
        for _ in 0..2 {
            ask(&mut stream).await;
            let start = Instant::now();
            sleep(Duration::from_mins(1)).await;
            assert_eq!(start.elapsed().as_secs(), 60);
        }
        let start = Instant::now();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(
            (start.elapsed().as_secs(), rest.len()),
            (15, 0),
            "{wire:?}: 75 s after the last answer"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_what_rests() {
    // An operator who restarts docxy: resting connections end in order and at once, and are not counted as cut.
    for wire in [Wire::Plain, Wire::Tls] {
        let place = Place::new(wire, Config::default(), describe());
        let mut streams = Vec::new();
        for _ in 0..5 {
            let mut stream = place.connect().await;
            ask(&mut stream).await;
            streams.push(stream);
        }
        sleep(A_WHILE).await;
        let start = Instant::now();
        let report = place.server.stop().await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!((report.accepted, report.cut), (5, 0), "{wire:?}");
        for mut stream in streams {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert!(rest.is_empty(), "{wire:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_rests_longest_makes_room() {
    // A client that arrives at a full server: the connection that has rested longest goes for it, and no other.
    let config = Config {
        max_connections: 5,
        ..Config::default()
    };
    let place = Place::new(Wire::Plain, config, describe());
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = place.connect().await;
        ask(&mut stream).await;
        streams.push(stream);
        sleep(Duration::from_secs(1)).await;
    }
    // The first is no longer the one that has rested longest.
    ask(&mut streams[0]).await;
    sleep(A_WHILE).await;
    let mut late = place.connect().await;
    ask(&mut late).await;
    assert_eq!(read_to_end(&mut streams.remove(1)).await, "");
    for stream in &mut streams {
        ask(stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_end_gets_it() {
    // A client of HTTP/1.0, or one that says `Connection: close`: also on a connection that has rested the end of the
    // answer is the end of the connection, at once; and HTTP/1.0 may ask to be kept.
    let closing: [&[u8]; 2] = [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    for wire in [Wire::Plain, Wire::Tls] {
        let place = Place::new(wire, Config::default(), describe());
        for last in closing {
            for before in [0, 1] {
                let mut stream = place.connect().await;
                for _ in 0..before {
                    ask(&mut stream).await;
                    sleep(A_WHILE).await;
                }
                let start = Instant::now();
                send(&mut stream, last).await;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.ends_with(END), "{wire:?}: {answer}");
                assert!(start.elapsed() < Duration::from_millis(50), "{wire:?}");
            }
        }
        let mut stream = place.connect().await;
        for _ in 0..3 {
            send(&mut stream, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
            answer(&mut stream).await;
            sleep(A_WHILE).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_nobody_read_is_not_the_next_request() {
    // Whoever shares a keep-alive connection behind a proxy: the rest of a body that the service did not read can't
    // become a request, however late it comes.
    let service = Router::new().fallback(any(|| async { END }));
    let place = Place::new(Wire::Plain, Config::default(), service);
    let mut stream = place.connect().await;
    send(
        &mut stream,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n",
    )
    .await;
    answer(&mut stream).await;
    sleep(A_WHILE).await;
    let _ = stream.write_all(&[GET, GET].concat()).await;
    let answer = read_to_end(&mut stream).await;
    assert!(!answer.contains("200"), "{answer}");
}
