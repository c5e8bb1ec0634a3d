//! A proxy on loopback that loses answers: the request has arrived and was carried out, the one who asked hears nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A proxy before one service. Its threads end with the test.
pub struct Proxy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    /// Loses one of every `every` answers on the way back from `service`.
    pub fn before(service: &str, every: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Arc::new(AtomicUsize::new(0));
        let (service, counted) = (service.to_owned(), Arc::clone(&lost));
        std::thread::spawn(move || {
            let answers = Arc::new(AtomicUsize::new(0));
            for client in listener.incoming().map_while(Result::ok) {
                let (service, answers, lost) = (service.clone(), Arc::clone(&answers), Arc::clone(&counted));
                std::thread::spawn(move || pass(client, &service, every, &answers, &lost));
            }
        });
        Self { address, lost }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Answers that were lost so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Passes one connection on until one side closes it, or an answer is lost with it.
fn pass(client: TcpStream, service: &str, every: usize, answers: &AtomicUsize, lost: &AtomicUsize) {
    let Ok(server) = TcpStream::connect(service) else { return };
    let (mut requests, mut onward) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        // Either side may close it; then the other one hears of it.
        let _ = std::io::copy(&mut requests, &mut onward);
        let _ = onward.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (&server, &client);
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        // What begins like this is an answer: bodies are JSON.
        let is_answer = bytes.starts_with(b"HTTP/1.1 ");
        if is_answer && answers.fetch_add(1, Ordering::Relaxed) % every == every - 1 {
            lost.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
