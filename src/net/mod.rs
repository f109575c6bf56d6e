//! Outgoing connections: HTTP client, WebSocket client, SSRF guard, throttling.
