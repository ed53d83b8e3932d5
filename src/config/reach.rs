//! Which files and directories a server with this configuration has to reach while it runs.

use std::path::{Path, PathBuf};

use super::{AdminSocket, Config};
use crate::net::Endpoint;
use crate::store;

/// Directories, as they are named: not all of them need be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those whose files are read again.
    pub read: Vec<PathBuf>,
    /// Those whose files are written, made and removed as well.
    pub written: Vec<PathBuf>,
}

impl Reach {
    /// A file is replaced by another one of its name, so that it is its directory that counts.
    fn add_file(to: &mut Vec<PathBuf>, file: &Path) {
        // What is beside the process's own directory is beside it wherever that is.
        let Ok(file) = std::path::absolute(file) else { return };
        to.extend(file.parent().map(Path::to_owned));
        // What a link leads to is replaced where it is.
        let target = file.canonicalize().ok();
        to.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
    }
}

impl Config {
    /// What it names. A key that names a file which is read or written while the server runs has its line here.
    pub fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        for file in &self.files {
            Reach::add_file(&mut reach.read, file);
        }
        for pair in &self.tls.certificates {
            Reach::add_file(&mut reach.read, &pair.chain);
            Reach::add_file(&mut reach.read, &pair.key);
        }
        // A name in the abstract namespace is no file (unix(7)).
        if let Some(Endpoint::Unix(socket)) = &self.worker.web.backend
            && socket.is_absolute()
        {
            Reach::add_file(&mut reach.read, socket);
        }
        if let AdminSocket::At(socket) = &self.admin_socket {
            Reach::add_file(&mut reach.written, socket);
        }
        if let Some(file) = &self.ready_file {
            Reach::add_file(&mut reach.written, file);
        }
        for store in &self.stores {
            let named = store.url.iter().flat_map(|url| store::files_named(store.kind, url));
            for file in named.chain(store.ca.clone()) {
                Reach::add_file(&mut reach.read, &file);
            }
            let Some(path) = &store.path else { continue };
            match store.kind {
                store::Kind::File => Reach::add_file(&mut reach.read, path),
                // A database keeps its journal beside it.
                _ => Reach::add_file(&mut reach.written, path),
            }
        }
        let events = &self.events;
        if let Some(file) = &events.file.path {
            Reach::add_file(&mut reach.written, file);
        }
        if let Some(file) = &events.webhook.authorities {
            Reach::add_file(&mut reach.read, file);
        }
        let named = events.redis.url.iter();
        for file in named.flat_map(|url| store::files_named(store::Kind::Redis, url)) {
            Reach::add_file(&mut reach.read, &file);
        }
        let spool = events.spool.directory.iter().filter_map(|it| std::path::absolute(it).ok());
        reach.written.extend(spool);
        reach
            .written
            .extend(self.state_directory.iter().filter_map(|it| std::path::absolute(it).ok()));
        reach
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn what_stores_and_events_are_encrypted_with_is_reached() {
        let (http, sql) = (store::Kind::Http, store::Kind::Postgresql);
        let http = store::Settings {
            ca: Some("/pki/http/ca.pem".into()),
            ..store::Settings::new("http", http)
        };
        let url = "postgresql://h/d?sslrootcert=/pki/root/ca.pem&sslcert=/pki/own/cert.pem";
        let sql =
            store::Settings { url: Some(Secret::new(url)), ..store::Settings::new("sql", sql) };
        let mut config = Config { stores: vec![http, sql], ..Config::default() };
        config.events.redis.url = Some(Secret::new("rediss://h/0?sslrootcert=/pki/redis/ca.pem"));
        let expected = ["/pki/http", "/pki/root", "/pki/own", "/pki/redis"];
        assert_eq!(config.reach().read, expected.map(PathBuf::from));
    }

    #[test]
    fn a_file_is_reached_in_its_directory_and_where_its_link_leads() {
        let here =
            std::env::temp_dir().join(format!("turnwire-reach-{}", getrandom::u32().unwrap()));
        let (live, archive) = (here.join("live"), here.join("archive"));
        std::fs::create_dir_all(&live).unwrap();
        std::fs::create_dir_all(&archive).unwrap();
        std::fs::write(archive.join("key1.pem"), "").unwrap();
        std::os::unix::fs::symlink(archive.join("key1.pem"), live.join("key.pem")).unwrap();
        let config = Config { files: vec![live.join("key.pem")], ..Config::default() };
        let reach = config.reach();
        std::fs::remove_dir_all(&here).unwrap();
        assert_eq!(reach.read, [live, archive]);
        assert!(reach.written.is_empty());
    }
}
