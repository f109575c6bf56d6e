//! The lines of a reverse proxy in front of a server.

use clap::ValueEnum;
use url::Url;

use crate::config::Config;

/// What is in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Proxy {
    /// Makes its certificates itself
    Caddy,
    /// With certificates of certbot or of your own
    Nginx,
}

const CADDY: &str = include_str!("Caddyfile");
const NGINX: &str = include_str!("nginx.conf");

impl Proxy {
    /// Its lines for this server.
    pub(in crate::cli) fn lines(self, config: &Config) -> String {
        let host = Url::parse(&config.server.public_url).ok();
        let host = host.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let template = match self {
            Self::Caddy => CADDY,
            Self::Nginx => NGINX,
        };
        template.replace("HOST", &host).replace("LISTEN", &config.server.listen.to_string())
    }

    /// The same, with where they go.
    pub(super) fn explained(self, config: &Config) -> String {
        let place = match self {
            Self::Caddy => "/etc/caddy/Caddyfile, then systemctl reload caddy",
            Self::Nginx => "/etc/nginx/conf.d/aerie.conf, then nginx -t && systemctl reload nginx",
        };
        let lines: String =
            self.lines(config).lines().map(|line| format!("    {line}\n")).collect();
        format!("Into {place}:\n\n{lines}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn the_lines_name_this_server() {
        let env = [("PUBLIC_URL", "https://a.example"), ("LISTEN", "127.0.0.1:77")];
        let env =
            env.map(|(key, value)| (format!("AERIE_SERVER__{key}"), value.to_owned())).to_vec();
        let config = load(&Sources { file: None, env }).unwrap();
        for proxy in [Proxy::Caddy, Proxy::Nginx] {
            let lines = proxy.lines(&config);
            assert!(lines.contains("a.example") && lines.contains("127.0.0.1:77"), "{lines}");
            assert!(!lines.contains("HOST") && !lines.contains("LISTEN"), "{lines}");
        }
    }
}
