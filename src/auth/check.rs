use std::net::SocketAddr;
use std::sync::Arc;

use super::credentials::{Credentials, Minted};
use super::nonce::{Nonces, Worth, offers_algorithms};
use super::{
    Algorithm, Claim, Credential, InvalidCredential, Key, Keys, Nonce, OnExpiry, OnRevocation,
    Settings, Token, prepare,
};
use crate::stun::{Digest, Message};
use crate::time::{Mono, Now};

/// PASSWORD-ALGORITHMS as this server sends it, strongest first, both without parameters
/// (RFC 8489 §14.11).
const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// Knows the credentials of one realm and judges requests by them.
///
/// Immutable, and shared by all workers.
pub struct Authority {
    credentials: Credentials,
    nonces: Nonces,
}

/// A request that proved who sent it.
#[derive(Debug)]
pub struct Authenticated {
    /// Its sender; the key signs the response as well.
    pub credential: Arc<Credential>,
    /// The digest of the response's integrity (RFC 8489 §9.2.4).
    pub digest: Digest,
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialKind {
    /// 401: no integrity; every client's first request.
    Challenge,
    /// 401: a REALM of another server.
    WrongRealm,
    /// 401: no such user.
    UnknownUser,
    /// 401: the integrity does not match the password.
    WrongPassword,
    /// 401: an ephemeral user's password, which none of the shared secrets has made.
    WrongSecret,
    /// 401: the ephemeral username's time is over.
    ExpiredCredential {
        /// The end of its time, in seconds since 1970.
        at: u64,
        /// How many seconds ago that was.
        ago: u64,
    },
    /// 438: the nonce is old, or was made for another address.
    StaleNonce,
    /// 400: integrity without USERNAME or USERHASH, REALM or NONCE.
    Incomplete,
    /// 400: PASSWORD-ALGORITHM(S) are not what was offered: bidding down.
    BidDown,
    /// 401: no key of the kid's name is valid now.
    UnknownTokenKey,
    /// 401: the key does not open the access token, or no session key is in it.
    BadToken,
    /// 401: the access token's time is over, or has not come.
    ExpiredToken,
    /// 401: the integrity does not match the access token's session key.
    WrongSessionKey,
    /// 420: an access token where none are taken.
    UnexpectedToken,
    /// The stores have to be asked whether there is such a user. A request with that waits for the answer; it is
    /// refused with 500 when there is no room for that.
    NotAsked,
    /// 500: the stores cannot say whether there is such a user.
    StoreDown,
    /// 438, with a nonce that offers no SHA-256: what came with it fits nobody, and of whom only an MD5 key is known is
    /// told to nobody.
    OnlyMd5,
    /// 401: an operator has taken the credential back.
    Revoked,
}

/// A refusal with what its response needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub kind: DenialKind,
    /// The nonce proved that the sender receives at its address, so that a longer answer
    /// amplifies nothing.
    pub proven: bool,
    /// The sender has the password: nobody else can have made the request.
    pub signed: bool,
}

impl Authority {
    /// Checks and prepares the settings. `master` is the random root of all nonces.
    ///
    /// # Errors
    /// The first credential that cannot be used.
    pub fn new(settings: Settings, master: [u8; 16]) -> Result<Self, InvalidCredential> {
        let nonces = Nonces::new(
            &master,
            settings.sha256,
            settings.username_anonymity,
            settings.nonce_lifetime,
        );
        Ok(Self { credentials: Credentials::new(settings)?, nonces })
    }

    /// The realm, prepared.
    pub const fn realm(&self) -> &Arc<str> {
        &self.credentials.realm
    }

    /// What an expired credential does to its allocations.
    pub const fn on_expiry(&self) -> OnExpiry {
        self.credentials.settings.on_expiry
    }

    /// What a credential that was taken back does to its allocations.
    pub const fn on_revocation(&self) -> OnRevocation {
        self.credentials.settings.on_revocation
    }

    /// Whether a credential that another authority of the same realm has let in is still good here,
    /// its time aside; `None` when it is of a store's user of whom nothing is remembered.
    pub fn vouches_for(&self, credential: &Credential) -> Option<bool> {
        self.credentials.have(credential)
    }

    /// The name of the user behind a USERHASH.
    pub fn name_behind(&self, hash: &[u8]) -> Option<&str> {
        self.credentials.name_behind(hash)
    }

    /// The value of PASSWORD-ALGORITHMS for 401 and 438, if SHA-256 is offered.
    pub const fn algorithms(&self) -> Option<&'static [u8]> {
        if self.credentials.settings.sha256 { Some(&OFFERED) } else { None }
    }

    /// The value of THIRD-PARTY-AUTHORIZATION for 401, if access tokens are taken.
    pub fn third_party(&self) -> Option<&str> {
        let tokens = &self.credentials.settings.tokens;
        let name = tokens.server_name.as_deref().unwrap_or(self.realm());
        (!tokens.keys.is_empty()).then_some(name)
    }

    /// A fresh nonce for a refused client.
    pub fn challenge(&self, client: SocketAddr, now: Mono) -> Nonce {
        self.nonces.make(client, now)
    }

    /// The same that offers no SHA-256.
    pub fn challenge_for_md5(&self, client: SocketAddr, now: Mono) -> Nonce {
        self.nonces.make_for_md5(client, now)
    }

    /// Judges a request by RFC 8489 §9.2.4, in its order. `known` is the credential that the
    /// 5-tuple's allocation was made with: it is tried first.
    ///
    /// # Errors
    /// The [`Denial`] to answer with.
    pub fn check(
        &self,
        message: &Message<'_>,
        claim: &Claim<'_>,
        known: Option<&Arc<Credential>>,
        client: SocketAddr,
        now: Now,
    ) -> Result<Authenticated, Denial> {
        let worth =
            claim.nonce.map_or(Worth::Foreign, |nonce| self.nonces.judge(nonce, client, now.mono));
        let proven = worth != Worth::Foreign;
        let deny = |kind| Denial { kind, proven, signed: false };
        // RFC 7635 §7: an ACCESS-TOKEN that nobody asked for is an unknown attribute.
        if claim.token.is_some() && self.third_party().is_none() {
            return Err(deny(DenialKind::UnexpectedToken));
        }
        let Some(digest) = message.integrity() else {
            return Err(deny(DenialKind::Challenge));
        };
        let (Some(realm), Some(nonce)) = (claim.realm, claim.nonce) else {
            return Err(deny(DenialKind::Incomplete));
        };
        if claim.username.is_none() && claim.userhash.is_none() {
            return Err(deny(DenialKind::Incomplete));
        }
        let (algorithm, digest_of_reply) = self.negotiate(claim, nonce).map_err(deny)?;
        if realm != self.realm().as_bytes() {
            return Err(deny(DenialKind::WrongRealm));
        }
        let signed = |key: &Key| message.verify(key.mac(digest));
        let credential = match self.identify(claim, known, algorithm, now, signed) {
            // Whoever has not proved the address asks no store, and is to try again from there.
            Err(DenialKind::NotAsked | DenialKind::OnlyMd5) if !worth.is_fresh() => {
                return Err(deny(DenialKind::StaleNonce));
            }
            identified => identified.map_err(deny)?,
        };
        // RFC 8489 §9.2.4: only now, so that 438 goes to those who know the password. Nobody is bid down by a nonce
        // that was made for another user.
        let bid_down = worth == Worth::FreshForMd5 && !credential.is_only_md5();
        if !worth.is_fresh() || bid_down {
            return Err(Denial { signed: true, ..deny(DenialKind::StaleNonce) });
        }
        // A session key is for the digest that it was used with.
        let digest = if credential.key().is_session() { digest } else { digest_of_reply };
        Ok(Authenticated { credential, digest })
    }

    /// The algorithm of the request's key, and the digest that its response is signed with.
    fn negotiate(
        &self,
        claim: &Claim<'_>,
        nonce: &[u8],
    ) -> Result<(Algorithm, Digest), DenialKind> {
        if !offers_algorithms(nonce) {
            return Ok((Algorithm::Md5, Digest::Sha1));
        }
        // RFC 8489 §9.2.4, third check.
        match (claim.algorithm, claim.algorithms) {
            (None, None) => Ok((Algorithm::Md5, Digest::Sha1)),
            (Some(chosen), Some(list)) if list == OFFERED => {
                let algorithm = match *chosen {
                    [0, 1, 0, 0] => Algorithm::Md5,
                    [0, 2, 0, 0] => Algorithm::Sha256,
                    _ => return Err(DenialKind::BidDown),
                };
                Ok((algorithm, Digest::Sha256))
            }
            _ => Err(DenialKind::BidDown),
        }
    }

    fn identify(
        &self,
        claim: &Claim<'_>,
        known: Option<&Arc<Credential>>,
        algorithm: Algorithm,
        now: Now,
        signed: impl Fn(&Key) -> bool,
    ) -> Result<Arc<Credential>, DenialKind> {
        if let Some(token) = claim.token {
            return self.identify_by_token(claim, token, now, signed);
        }
        if let Some(known) = known
            && claim.username == Some(known.username().as_bytes())
            && known.key().algorithm().is_none_or(|known| known == algorithm)
            && signed(known.key())
        {
            return match known.expires().filter(|expires| *expires <= now.unix) {
                Some(_) if known.key().is_session() => Err(DenialKind::ExpiredToken),
                Some(at) if self.on_expiry() != OnExpiry::Keep => Err(expired(at, now)),
                _ => Ok(Arc::clone(known)),
            };
        }
        self.find(claim, algorithm, now, signed).map_err(|kind| match kind {
            // RFC 8489 §9.2.4 has 401 here. Where a store may have an MD5 key only of somebody, whoever does not know
            // the password is not told of whom: all are sent on with MD5, and learn there what is wrong.
            DenialKind::UnknownUser
            | DenialKind::WrongPassword
            | DenialKind::WrongSecret
            | DenialKind::ExpiredCredential { .. }
                if algorithm == Algorithm::Sha256 && self.credentials.may_have_only_md5() =>
            {
                DenialKind::OnlyMd5
            }
            kind => kind,
        })
    }

    /// Whose credential it is, of those in the settings, of the shared secrets, and of the stores.
    fn find(
        &self,
        claim: &Claim<'_>,
        algorithm: Algorithm,
        now: Now,
        signed: impl Fn(&Key) -> bool,
    ) -> Result<Arc<Credential>, DenialKind> {
        let fitting = |keys: &Keys| {
            if algorithm == Algorithm::Sha256 && keys.are_only_md5() {
                return Err(DenialKind::OnlyMd5);
            }
            let own = keys.of(algorithm).filter(|own| signed(own.key()));
            own.map(Arc::clone).ok_or(DenialKind::WrongPassword)
        };
        let Some(name) = claim.username else {
            let keys = claim.userhash.and_then(|hash| self.credentials.by_hash(hash));
            return fitting(keys.ok_or(DenialKind::UnknownUser)?);
        };
        let name = username(name).ok_or(DenialKind::UnknownUser)?;
        if let Some(keys) = self.credentials.own(name) {
            return fitting(keys);
        }
        let minted = self.credentials.minted(name);
        if let Some(Minted { owner, expires }) = minted {
            let over = (expires <= now.unix).then(|| expired(expires, now));
            if let Some(over) = over.filter(|_| !self.credentials.has_stores()) {
                return Err(over);
            }
            if let Some(key) = self.credentials.shared_key(name, algorithm, &signed) {
                let credential = Credential::ephemeral(self.realm(), name, owner, expires, key);
                return over.map_or_else(|| Ok(Arc::new(credential)), Err);
            }
        }
        // The name may look like that and be somebody's all the same.
        match self.credentials.in_stores(name, now.mono) {
            // It may be a new password.
            Ok((keys, true)) => fitting(&keys).map_err(|_| DenialKind::NotAsked),
            Ok((keys, false)) => fitting(&keys),
            Err(DenialKind::UnknownUser) => Err(self.nobody(minted, now)),
            Err(other) => Err(other),
        }
    }

    /// What is wrong with a name that neither the settings nor the stores know.
    fn nobody(&self, minted: Option<Minted<'_>>, now: Now) -> DenialKind {
        match minted {
            None => DenialKind::UnknownUser,
            Some(Minted { expires, .. }) if expires <= now.unix => expired(expires, now),
            // The secret may be one that a store has not said yet.
            Some(_) if !self.credentials.knows_all_secrets() => DenialKind::StoreDown,
            Some(_) => DenialKind::WrongSecret,
        }
    }

    /// RFC 7635 §7
    fn identify_by_token(
        &self,
        claim: &Claim<'_>,
        token: &[u8],
        now: Now,
        signed: impl Fn(&Key) -> bool,
    ) -> Result<Arc<Credential>, DenialKind> {
        let sealing = claim.username.and_then(|kid| self.credentials.token_key(kid));
        let sealing = sealing.filter(|key| key.is_valid(now.unix));
        let (Some(sealing), Some(name)) = (sealing, self.third_party()) else {
            return Err(DenialKind::UnknownTokenKey);
        };
        let token = Token::open(token, sealing, name).ok_or(DenialKind::BadToken)?;
        let keys = [Some(token.key.clone()), token.key.cut_session()];
        let key = keys.into_iter().flatten().find(signed).ok_or(DenialKind::WrongSessionKey)?;
        let skew = self.credentials.settings.tokens.clock_skew.as_secs();
        let left = token.remaining(now.unix, skew).ok_or(DenialKind::ExpiredToken)?;
        let (owner, expires) = (token.owner(&sealing.kid), now.unix.saturating_add(left));
        Ok(Arc::new(Credential::ephemeral(self.realm(), &sealing.kid, &owner, expires, key)))
    }
}

const fn expired(at: u64, now: Now) -> DenialKind {
    DenialKind::ExpiredCredential { at, ago: now.unix.saturating_sub(at) }
}

/// A name that somebody may have: a longer one cannot be anybody's (RFC 8489 §14.3: at most 508 bytes), and one that
/// preparation would change was not prepared by its sender.
fn username(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= 508)?;
    prepare(name).is_some_and(|prepared| prepared == name).then_some(name)
}
