//! A client that costs next to nothing: it shares the processors with the server that it loads.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes longer, or something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    buffer: Vec<u8>,
}

/// What was answered.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address, buffer: Vec::with_capacity(16 * 1_024) })
    }

    pub(crate) async fn get(&mut self, path: &str) -> std::io::Result<Answer<'_>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.exchange(request.as_bytes()).await
    }

    pub(crate) async fn post(&mut self, path: &str, key: &str, body: &str) -> std::io::Result<Answer<'_>> {
        let (host, length) = (self.address, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.exchange(request.as_bytes()).await
    }

    async fn exchange(&mut self, request: &[u8]) -> std::io::Result<Answer<'_>> {
        let answer = tokio::time::timeout(PATIENCE, async {
            self.stream.write_all(request).await?;
            self.buffer.clear();
            loop {
                if let Some((status, body, end)) = parts(&self.buffer)
                    && self.buffer.len() >= end
                {
                    return Ok::<_, std::io::Error>((status, body, end));
                }
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
        });
        let (status, body, end) = answer.await.map_err(|_| std::io::ErrorKind::TimedOut)??;
        let body = &self.buffer[body..end];
        Ok(Answer { status, body })
    }
}

/// The status, and where the body begins and ends, once the whole head is there.
fn parts(answer: &[u8]) -> Option<(u16, usize, usize)> {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let body = head + 4;
    Some((status, body, body + length.unwrap_or(0)))
}
