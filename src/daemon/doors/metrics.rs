//! `--metrics`: OpenMetrics text over HTTP, just enough of it for a scraper (RFC 9112: GET, one answer, close).

use super::socket::{Answer, Question, Reply, Request};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST_MAX: usize = 8 << 10;

/// Listens and answers on the runtime of the caller; trouble is logged.
pub fn start(address: SocketAddr, questions: mpsc::Sender<Question>) {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    match listener {
        Ok(listener) => {
            tokio::spawn(async move {
                let room = Arc::new(Semaphore::new(super::room()));
                while let Ok(place) = room.clone().acquire_owned().await {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            let questions = questions.clone();
                            tokio::spawn(async move {
                                let _ = timeout(PATIENCE, answer(stream, questions)).await;
                                drop(place);
                            });
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            });
        }
        Err(error) => tracing::warn!(target: "parent", "No metrics at {address}: {error}"),
    }
}

async fn answer(mut stream: TcpStream, questions: mpsc::Sender<Question>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0u8; 1024];
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 && request.len() < REQUEST_MAX => {
                request.extend_from_slice(buffer.get(..n).unwrap_or_default());
            }
            _ => return,
        }
    }
    let first = String::from_utf8_lossy(&request);
    let mut words = first.lines().next().unwrap_or("").split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some("/metrics" | "/")) => match metrics(&questions).await {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "stopping\n".to_owned()),
        },
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let kind = if status.starts_with("200") {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if first.starts_with("HEAD") { "" } else { &body };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn metrics(questions: &mpsc::Sender<Question>) -> Option<String> {
    let (answer, answered) = oneshot::channel();
    questions.send(Question { request: Request::Metrics, answer: Answer::Once(answer) }).await.ok()?;
    match answered.await.ok()? {
        Reply::Text { text } => Some(text),
        _ => None,
    }
}
