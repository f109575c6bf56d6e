//! What the service manager is told: that the server is ready, that it stops, that it lives (`sd_notify(3)`).
//!
//! One datagram to the socket that `NOTIFY_SOCKET` names; without it, nothing. The crate `sd-notify` does the same, with
//! features for containers and file descriptors that nothing here uses.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Manager {
    socket: Option<SocketAddr>,
    /// Without a sign of life for so long, the process is killed.
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment says.
    pub(super) fn from_env() -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::new(var("NOTIFY_SOCKET"), var("WATCHDOG_USEC"), var("WATCHDOG_PID"))
    }

    fn new(socket: Option<OsString>, usec: Option<OsString>, pid: Option<OsString>) -> Self {
        let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
        let socket = socket.and_then(|name| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&name),
            };
            address
                .inspect_err(|error| tracing::warn!(%error, ?name, "NOTIFY_SOCKET cannot be used"))
                .ok()
        });
        // The variables are inherited; without a number they are for whoever reads them.
        let ours = pid.is_none_or(|pid| number(pid) == Some(u64::from(std::process::id())));
        let watchdog = usec.and_then(number).filter(|usec| *usec > 0 && ours && socket.is_some());
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// How long the manager waits for a sign of life, if it waits for one.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The server answers.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The server stops.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The server lives.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        let send = || -> io::Result<()> {
            let from = UnixDatagram::unbound()?;
            // A manager that reads nothing must not hold us up.
            from.set_nonblocking(true)?;
            from.send_to_addr(state.as_bytes(), socket).map(drop)
        };
        if let Err(error) = send() {
            tracing::warn!(%error, state, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = [0; 100];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_in_the_file_system_and_an_abstract_one_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("aerie-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_address).unwrap(), format!("@{name}").into()),
        ];
        for (socket, name) in sockets {
            let manager = Manager::new(Some(name), None, None);
            manager.ready();
            manager.alive();
            manager.stopping();
            let told = [(); 3].map(|()| received(&socket));
            assert_eq!(told, ["READY=1", "WATCHDOG=1", "STOPPING=1"]);
        }
        Manager::new(None, None, None).ready();
        Manager::new(Some("/no/such/socket".into()), None, None).ready();
    }

    #[test]
    fn the_watchdog_is_ours_if_no_other_process_is_named() {
        let own = std::process::id().to_string();
        for (usec, pid, want) in [
            (None, None, None),
            (Some("2000000"), None, Some(2)),
            (Some("2000000"), Some(own.as_str()), Some(2)),
            (Some("2000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
        ] {
            let manager =
                Manager::new(Some("@x".into()), usec.map(Into::into), pid.map(Into::into));
            assert_eq!(manager.watchdog(), want.map(Duration::from_secs), "{usec:?} {pid:?}");
        }
        assert_eq!(Manager::new(None, Some("2000000".into()), None).watchdog(), None);
    }
}
