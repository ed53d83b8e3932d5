//! What of a configuration can change under a running server.

use super::Config;

impl Config {
    /// Whether another configuration says the same about the addresses of allocations and where they are known.
    pub fn same_places(&self, other: &Self) -> bool {
        self.relay.addresses == other.relay.addresses
            && self.relay.external == other.relay.external
            && self.relay.stun_server == other.relay.stun_server
    }

    /// The keys whose values another configuration changes and that are read at the start
    /// only.
    pub fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        let (ours, theirs) = (&self.worker, &other.worker);
        let certificates = self.tls.certificates != other.tls.certificates;
        let changed = [
            ("listen.addresses", ours.listeners != theirs.listeners),
            ("listen.tls", ours.tls_listeners != theirs.tls_listeners),
            ("listen.dtls", ours.dtls_listeners != theirs.dtls_listeners),
            ("listen.dtls_on_udp", ours.dtls_on_udp != theirs.dtls_on_udp),
            ("listen.nat_alternates", self.nat_alternates != other.nat_alternates),
            ("listen.workers", ours.workers != theirs.workers),
            ("listen.buffer", ours.listener_buffer != theirs.listener_buffer),
            ("listen.trains", ours.trains != theirs.trains),
            ("listen.gather_microseconds", ours.gather != theirs.gather),
            ("tls.certificates", certificates),
            ("tls.keys", certificates),
            ("tls.min_version", self.tls.min_version != other.tls.min_version),
            ("relay.buffer", ours.relay_buffer != theirs.relay_buffer),
            ("relay.pass_dscp", ours.pass_dscp != theirs.pass_dscp),
            ("relay.pass_ecn", ours.pass_ecn != theirs.pass_ecn),
            ("redirect.when", self.redirect.when != other.redirect.when),
            ("redirect.interval", self.redirect.interval != other.redirect.interval),
            ("redirect.credentials", self.redirect.credentials != other.redirect.credentials),
            ("redirect.servers", self.redirect.servers != other.redirect.servers),
            ("admin.socket", self.admin_socket != other.admin_socket),
            ("admin.listen", self.admin != other.admin),
            ("log.format", self.log.format != other.log.format),
            ("process.ready_file", self.ready_file != other.ready_file),
            ("process.state_directory", self.state_directory != other.state_directory),
            ("process.user", self.user != other.user),
            ("process.group", self.group != other.group),
        ];
        changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }
}
