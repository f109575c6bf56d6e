//! The socket itself, both ends.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

const MAX_LINE: u64 = 8 << 20;
const MAX_ANSWER: u64 = 16 << 20;
/// Time that either end has to say something; how long the work takes is the asker's to judge.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a command, or what went wrong in words.
pub type Answer = BoxFuture<'static, Result<Value, String>>;

/// Answers a command; `None` for one that it does not know.
pub type Ask = dyn Fn(&str, Value) -> Option<Answer> + Send + Sync;

/// Where the socket of a store is.
#[must_use]
pub fn socket_path(store: &Path) -> PathBuf {
    store.join("aerie.sock")
}

/// A listening socket; its file goes with it.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens. A file that a dead process left is replaced: the store's lock says that no other process lives.
    pub fn bind(store: &Path) -> io::Result<Self> {
        let path = socket_path(store);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until `stop`.
    pub async fn serve(self, answer: Arc<Ask>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let answer = Arc::clone(&answer);
            tokio::spawn(one(stream, answer));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn one(stream: UnixStream, answer: Arc<Ask>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let asking = async { BufReader::new(read).take(MAX_LINE).read_line(&mut line).await };
    tokio::time::timeout(TIMEOUT, asking).await??;
    let request: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
    let command = request.get("command").and_then(Value::as_str).unwrap_or_default().to_owned();
    let result = match answer(&command, request) {
        Some(answer) => answer.await,
        None => Err(format!("unknown command {command:?}; is the server of another version?")),
    };
    let mut body = match result {
        Ok(result) => json!({ "result": result }),
        Err(error) => json!({ "error": error }),
    }
    .to_string();
    body.push('\n');
    let answering = async {
        write.write_all(body.as_bytes()).await?;
        write.shutdown().await
    };
    tokio::time::timeout(TIMEOUT, answering).await?
}

/// Why the running server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens.
    #[error(
        "no server is running on {0}: start it with `aerie serve`, or name its configuration with --config"
    )]
    NotRunning(PathBuf),
    /// The socket is somebody else's.
    #[error("{0}: permission denied; run this as the user that the server runs as")]
    Permission(PathBuf),
    /// Anything else.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It answered with an error.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server that owns `store` what it can answer at once.
pub async fn ask(store: &Path, request: &Value) -> Result<Value, AskError> {
    ask_within(store, request, TIMEOUT).await
}

/// Asks the server that owns `store` for something that may take it some time.
pub async fn ask_within(store: &Path, request: &Value, limit: Duration) -> Result<Value, AskError> {
    let path = socket_path(store);
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(store.to_owned())
        }
        io::ErrorKind::PermissionDenied => AskError::Permission(path.clone()),
        _ => AskError::Io(path.clone(), e),
    };
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut text = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
    };
    let mut answer: Value = serde_json::from_str(&text).map_err(|e| failed(e.into()))?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => Err(AskError::Refused(error.to_owned())),
        None => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_is_answered_and_an_unknown_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ask(dir.path(), &json!({})).await, Err(AskError::NotRunning(_))));
        std::fs::write(socket_path(dir.path()), "left behind").unwrap();
        let socket = Socket::bind(dir.path()).unwrap();
        let mode = std::fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stop = CancellationToken::new();
        let answer: Arc<Ask> = Arc::new(|command, request| match command {
            "status" => Some(Box::pin(async { Ok(json!({"up": true})) })),
            "fail" => Some(Box::pin(async move { Err(request["why"].to_string()) })),
            _ => None,
        });
        let serving = tokio::spawn(socket.serve(answer, stop.clone()));
        let got = ask(dir.path(), &json!({"command": "status"})).await.unwrap();
        assert_eq!(got, json!({"up": true}));
        assert!(matches!(
            ask(dir.path(), &json!({"command": "x"})).await,
            Err(AskError::Refused(_))
        ));
        let failing = json!({"command": "fail", "why": "x".repeat(1 << 20)});
        match ask_within(dir.path(), &failing, TIMEOUT).await {
            Err(AskError::Refused(why)) => assert_eq!(why.len(), (1 << 20) + 2),
            other => panic!("{other:?}"),
        }
        stop.cancel();
        serving.await.unwrap();
        assert!(!socket_path(dir.path()).exists());
    }
}
