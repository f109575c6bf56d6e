//! The socket itself, both ends: one line of JSON asks, one line answers and says of which version the server is.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::protocol::{Operation, Request};

const MAX_LINE: u64 = 8 << 20;
const MAX_ANSWER: u64 = 16 << 20;
/// Time that either end has to say something; how long the work takes is the asker's to judge.
const TIMEOUT: Duration = Duration::from_secs(30);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Answers a request, or says in words what went wrong.
pub type Handler = dyn Fn(Request) -> BoxFuture<'static, Result<Value, String>> + Send + Sync;

/// What goes back.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    /// Of the server.
    #[serde(default = "unknown")]
    version: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Result(Value),
    Error(String),
}

/// Servers did not always say it.
fn unknown() -> String {
    "of an older version".to_owned()
}

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
        // Made where nobody else gets in, and moved when it is closed to others: a socket has the modes of the umask at
        // first.
        let aside = store.join(".s");
        let _ = std::fs::remove_dir_all(&aside);
        std::fs::DirBuilder::new().mode(0o700).create(&aside)?;
        let made = bind_in(&aside).and_then(|(listener, made)| {
            std::fs::rename(made, &path)?;
            Ok(Self { listener, path })
        });
        let _ = std::fs::remove_dir_all(&aside);
        made
    }

    /// Answers until `stop`.
    pub async fn serve(self, handler: Arc<Handler>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let handler = Arc::clone(&handler);
            tokio::spawn(one(stream, handler));
        }
    }
}

fn bind_in(folder: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let path = folder.join("s");
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok((listener, path))
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn one(stream: UnixStream, handler: Arc<Handler>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let asking = async { BufReader::new(read).take(MAX_LINE).read_line(&mut line).await };
    tokio::time::timeout(TIMEOUT, asking).await??;
    let result = match serde_json::from_str::<Request>(&line) {
        Ok(request) => handler(request).await,
        Err(error) => Err(format!(
            "the running server is aerie {VERSION} and does not know this request ({error}): use the same version of `aerie` as the server, or restart the server with this one"
        )),
    };
    let outcome = result.map_or_else(Outcome::Error, Outcome::Result);
    let mut body = serde_json::to_string(&Reply { version: VERSION.to_owned(), outcome })?;
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
    /// It answered in another way than this version reads.
    #[error(
        "the running server is aerie {server} and answers `{name}` in a way that this aerie {VERSION} cannot read ({why}): use the same version of `aerie` as the server, or restart the server with this one"
    )]
    Mismatch {
        /// What was asked.
        name: &'static str,
        /// The server's version.
        server: String,
        /// What is wrong with the answer.
        why: String,
    },
}

/// Asks the server that owns `store` what it can answer at once.
///
/// # Errors
/// See [`AskError`].
pub async fn ask<O: Operation>(store: &Path, operation: O) -> Result<O::Answer, AskError> {
    ask_within(store, operation, TIMEOUT).await
}

/// Asks the server that owns `store` for something that may take it some time.
///
/// # Errors
/// See [`AskError`].
pub async fn ask_within<O: Operation>(
    store: &Path,
    operation: O,
    limit: Duration,
) -> Result<O::Answer, AskError> {
    let path = socket_path(store);
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(store.to_owned())
        }
        io::ErrorKind::PermissionDenied => AskError::Permission(path.clone()),
        _ => AskError::Io(path.clone(), e),
    };
    let mut line = serde_json::to_vec(&operation.into()).map_err(|e| failed(e.into()))?;
    line.push(b'\n');
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        stream.write_all(&line).await?;
        let mut text = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
    };
    let reply: Reply = serde_json::from_str(&text).map_err(|e| failed(e.into()))?;
    let server = reply.version;
    match reply.outcome {
        Outcome::Error(error) => Err(AskError::Refused(error)),
        Outcome::Result(result) => serde_json::from_value(result).map_err(|e| AskError::Mismatch {
            name: O::NAME,
            server,
            why: e.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::protocol::{MemberAdd, MemberList, Members, RepoAdd, Status};
    use super::*;

    /// Serves with `handler` in a folder of its own.
    fn serving(handler: Arc<Handler>) -> (tempfile::TempDir, CancellationToken) {
        let dir = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Socket::bind(dir.path()).unwrap().serve(handler, stop.clone()));
        (dir, stop)
    }

    #[tokio::test]
    async fn a_command_is_answered_or_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ask(dir.path(), Status {}).await, Err(AskError::NotRunning(_))));
        std::fs::write(socket_path(dir.path()), "left behind").unwrap();
        let socket = Socket::bind(dir.path()).unwrap();
        let mode = std::fs::metadata(socket_path(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stop = CancellationToken::new();
        let handler: Arc<Handler> = Arc::new(|request| {
            Box::pin(async move {
                match request {
                    Request::Status(_) => Ok(json!({"up": true})),
                    Request::RepoAdd(of) => Err(of.repos.concat()),
                    _ => Ok(json!({"members": []})),
                }
            })
        });
        let serving = tokio::spawn(socket.serve(handler, stop.clone()));
        assert_eq!(ask(dir.path(), Status {}).await.unwrap(), json!({"up": true}));
        assert_eq!(ask(dir.path(), MemberList {}).await.unwrap(), Members::default());
        let failing = RepoAdd { repos: vec!["x".repeat(1 << 20)] };
        match ask_within(dir.path(), failing, TIMEOUT).await {
            Err(AskError::Refused(why)) => assert_eq!(why.len(), 1 << 20),
            other => panic!("{other:?}"),
        }
        stop.cancel();
        serving.await.unwrap();
        assert!(!socket_path(dir.path()).exists());
    }

    #[tokio::test]
    async fn nobody_else_may_connect_at_any_instant() {
        use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (path, on) = (socket_path(dir.path()), AtomicBool::new(true));
        let seen = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while on.load(Ordering::Relaxed) {
                    if let Ok(metadata) = std::fs::symlink_metadata(&path) {
                        seen.fetch_or(metadata.permissions().mode() & 0o777, Ordering::Relaxed);
                    }
                }
            });
            for _ in 0..2000 {
                drop(Socket::bind(dir.path()).unwrap());
            }
            on.store(false, Ordering::Relaxed);
        });
        assert_eq!(seen.load(Ordering::Relaxed) & 0o077, 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn another_version_at_the_other_end_is_a_sentence() {
        // A newer server, whose answer has other fields than this one reads.
        let (dir, stop) = serving(Arc::new(|_| Box::pin(async { Ok(json!({"dids": []})) })));
        let add = MemberAdd { member: "a.example".to_owned() };
        let error = ask(dir.path(), add).await.unwrap_err().to_string();
        let says =
            format!("the running server is aerie {VERSION} and answers `member.add` in a way");
        assert!(error.starts_with(&says) && error.contains("missing field `did`"), "{error}");
        // A newer command, which this server does not know.
        let mut stream = UnixStream::connect(socket_path(dir.path())).await.unwrap();
        stream.write_all(b"{\"command\": \"tea.make\"}\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let reply: Reply = serde_json::from_str(&text).unwrap();
        let Outcome::Error(error) = reply.outcome else { panic!("{text}") };
        for part in ["unknown variant `tea.make`", VERSION, "restart the server"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        stop.cancel();
        // A server from before versions were told.
        let old: Reply = serde_json::from_str(r#"{"result": {}}"#).unwrap();
        assert_eq!(old.version, unknown());
    }
}
