//! A name server that gives the same name other addresses each time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::UdpSocket;

/// Type numbers of RFC 1035.
const TYPE_A: [u8; 2] = [0, 1];

/// Serves `answers` in turn, the last one for ever, with a time to live of 0. An empty list of
/// addresses means that the server stays silent.
pub(crate) async fn serve(answers: Vec<Vec<Ipv4Addr>>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let is_a = query[name_end..name_end + 2] == TYPE_A;
            let turn = if is_a { count.fetch_add(1, Ordering::SeqCst) } else { 0 };
            let addresses = &answers[turn.min(answers.len() - 1)];
            if addresses.is_empty() {
                continue;
            }
            let addresses: &[Ipv4Addr] = if is_a { addresses } else { &[] };
            let reply = reply(&query[..name_end + 4], addresses);
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    (address, asked)
}

/// The answer to a query (RFC 1035, section 4): its header and question, then the addresses.
fn reply(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut reply = query.to_vec();
    let count = u8::try_from(addresses.len()).unwrap();
    reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    for address in addresses {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend_from_slice(&address.octets());
    }
    reply
}

/// Serves nothing but NXDOMAIN (RFC 1035, section 4.1.1: code 3).
pub(crate) async fn serve_no_name() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query).await.unwrap();
            let name_end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 1;
            let mut reply = reply(&query[..name_end + 4], &[]);
            reply[3] |= 3;
            socket.send_to(&reply, from).await.unwrap();
        }
    });
    address
}
