use turnwire::auth::{Algorithm, Key, RestDigest, Secret, mint_password, userhash};
use turnwire::stun::{Digest, Writer, attribute};

/// What a client knows, and how it proves it.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) username: String,
    password: String,
    /// PASSWORD-ALGORITHM SHA-256 and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §9.2).
    sha256: bool,
    /// USERHASH in place of USERNAME.
    hidden: bool,
}

impl Credential {
    /// A user with MESSAGE-INTEGRITY and MD5, as every browser does it.
    pub(crate) fn user(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            sha256: false,
            hidden: false,
        }
    }

    /// An ephemeral credential, as a web application mints it.
    pub(crate) fn ephemeral(digest: RestDigest, secret: &str, username: &str) -> Self {
        let password = mint_password(digest, &Secret::new(secret), username);
        Self::user(username, &password)
    }

    pub(crate) fn sha256(self) -> Self {
        Self { sha256: true, ..self }
    }

    pub(crate) fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    fn key(&self, realm: &str) -> Key {
        let algorithm = if self.sha256 { Algorithm::Sha256 } else { Algorithm::Md5 };
        Key::derive(algorithm, &self.username, realm, &self.password)
    }

    fn digest(&self) -> Digest {
        if self.sha256 { Digest::Sha256 } else { Digest::Sha1 }
    }

    /// Appends who is asking, and the proof.
    pub(crate) fn sign(&self, writer: &mut Writer<'_>, challenge: &Challenge) {
        self.introduce(writer, challenge);
        writer.integrity(self.mac(challenge));
    }

    /// Appends who is asking.
    pub(crate) fn introduce(&self, writer: &mut Writer<'_>, challenge: &Challenge) {
        if self.hidden {
            let hash = userhash(&self.username, &challenge.realm);
            writer.attribute(attribute::USERHASH, &hash);
        } else {
            writer.attribute(attribute::USERNAME, self.username.as_bytes());
        }
        writer.attribute(attribute::REALM, challenge.realm.as_bytes());
        writer.attribute(attribute::NONCE, &challenge.nonce);
        if self.sha256 {
            let offered = challenge.algorithms.as_deref().expect("SHA-256 is offered");
            writer.attribute(attribute::PASSWORD_ALGORITHMS, offered);
            writer.attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
        }
    }

    /// What signs a request and its response.
    pub(crate) fn mac(&self, challenge: &Challenge) -> turnwire::stun::Mac {
        self.key(&challenge.realm).mac(self.digest())
    }
}

/// What a server asks of an unknown client in a 401 or 438 (RFC 8489 §9.2.4).
#[derive(Clone)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) algorithms: Option<Vec<u8>>,
}
