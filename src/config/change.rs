//! What of a configuration can change under a running server.

use super::Config;

impl Config {
    /// Whether another configuration says the same about the addresses of allocations and where they are known.
    pub fn same_places(&self, other: &Self) -> bool {
        self.relay.addresses == other.relay.addresses
            && self.relay.external == other.relay.external
            && self.relay.stun_server == other.relay.stun_server
    }

    /// Whether another configuration has the same listeners.
    pub fn same_listeners(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.worker, &other.worker);
        ours.listeners == theirs.listeners
            && ours.tls_listeners == theirs.tls_listeners
            && ours.dtls_listeners == theirs.dtls_listeners
            && self.nat_alternates == other.nat_alternates
    }

    /// The keys whose values another configuration changes and that are read at the start
    /// only.
    pub fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.worker, &other.worker);
        let changed = [
            ("listen.workers", ours.workers != theirs.workers),
            ("listen.trains", ours.trains != theirs.trains),
            ("admin.socket", self.admin_socket != other.admin_socket),
            ("admin.listen", self.admin != other.admin),
            ("web.listen", self.web.listen != other.web.listen),
            ("log.format", self.log.format != other.log.format),
            ("process.state_directory", self.state_directory != other.state_directory),
            ("process.user", self.user != other.user),
            ("process.group", self.group != other.group),
            ("process.sandbox", self.sandbox != other.sandbox),
        ];
        changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }
}
