//! `docxy healthcheck` against listeners that answer as a test says.

use std::{io::Write as _, net::TcpListener, sync::Arc, thread};

use super::{docxy, file, story};

/// Answers one connection; the request comes back when the thread is joined.
fn answering(answer: &'static str) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    (port, thread)
}

fn read_request(stream: &mut impl std::io::Read) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

#[test]
fn healthy() {
    // A container engine keeps a living container.
    let (port, thread) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (_folder, path) = file(&format!("listen = [\"0.0.0.0:{port}\"]\n"));
    assert!(story(docxy(&path).arg("healthcheck")).starts_with("exit code Some(0)"));
    let request = thread.join().unwrap();
    assert!(request.starts_with("GET /livez HTTP/1.1\r\n"), "{request}");
}

#[test]
fn unhealthy() {
    // A container engine restarts one that can't serve, and its log says why.
    let (port, thread) = answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let (_folder, path) = file(&format!("listen = [\"127.0.0.1:{port}\"]\n"));
    let said = story(docxy(&path).arg("healthcheck"));
    assert!(said.starts_with("exit code Some(1)"), "{said}");
    assert!(
        said.ends_with(&format!("docxy: 127.0.0.1:{port} answered /livez with 503")),
        "{said}"
    );
    thread.join().unwrap();
}

#[test]
fn nobody_there() {
    // The usual case: docxy runs with another configuration, or not at all.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (_folder, path) = file(&format!("listen = [\"127.0.0.1:{port}\"]\n"));
    let said = story(docxy(&path).arg("healthcheck"));
    assert!(said.starts_with("exit code Some(1)"), "{said}");
    assert!(said.contains("is it running with this configuration?"), "{said}");
}

#[test]
fn behind_the_proxy_protocol() {
    // A listener that demands a PROXY header gets one.
    let (port, thread) = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let (_folder, path) = file(&format!(
        "listen = [{{ address = \"127.0.0.1:{port}\", proxy_protocol = true }}]\ntrusted_proxies = [\"127.0.0.1\"]\n"
    ));
    assert!(story(docxy(&path).arg("healthcheck")).starts_with("exit code Some(0)"));
    assert!(thread.join().unwrap().starts_with("PROXY UNKNOWN\r\nGET /livez"));
}

#[test]
fn only_https() {
    // A standalone HTTPS proxy is checked too; its certificate is for its public name, not for 127.0.0.1.
    let certified = rcgen::generate_simple_self_signed(["hub.example.com".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let request = read_request(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        stream.flush().unwrap();
        request
    });
    let (_folder, path) = file(&format!(
        "listen = []\n[tls]\nlisten = [\"127.0.0.1:{port}\"]\ncertificates = [{{ cert = \"c\", key = \"k\" }}]\n"
    ));
    let said = story(docxy(&path).arg("healthcheck"));
    assert!(said.starts_with("exit code Some(0)"), "{said}");
    assert!(thread.join().unwrap().starts_with("GET /livez"));
}
