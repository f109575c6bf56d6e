//! The HTTP server: routing, authentication, parameters, handlers.
