use std::sync::Arc;

use super::cause::{Facts, Phrase, Told};
use super::discovery::Answer;
use super::realm::Realm;
use super::request::Request;
use super::server::Context;
use super::{Cause, Client, ConnectionId, Reply, Server, Stats};
use crate::auth::{Credential, Denial, DenialKind};
use crate::stun::{Digest, Kind, Method, TransactionId, Writer, attribute, error_code};
use crate::time::{Mono, Now};

impl Server {
    /// ERROR-CODE with what may be said of the cause.
    fn write_cause(&self, writer: &mut Writer<'_>, cause: Cause, facts: &Facts<'_>) {
        if self.settings.explain {
            writer.error_code(cause.code(), Phrase::of(&Told(cause, *facts)).as_str());
        } else {
            writer.error_code(cause.code(), error_code::phrase(cause.code()));
        }
    }

    /// Writes an error response to an authenticated request.
    pub(super) fn refuse(&self, context: &Context<'_>, cause: Cause, out: &mut [u8]) -> usize {
        context.stats.refuse(cause);
        let request = context.request;
        let mut writer = Writer::new(out, Kind::error(request.method), &request.id);
        let user = Some(context.who.credential.username());
        let facts = Facts { request, realm: context.realm.name(), user };
        self.write_cause(&mut writer, cause, &facts);
        if cause == Cause::UnknownAttribute {
            writer.unknown_attributes(request.unknown());
        }
        // RFC 8656 §5: in failures of these two as well.
        let named = matches!(request.method, Method::ALLOCATE | Method::REFRESH);
        context.finish(writer, self.settings.software.as_deref().filter(|_| named))
    }

    /// Answers a Binding request (RFC 8489 §6.3.1, RFC 3489 §8.1, RFC 5780 §6.1).
    pub(super) fn binding(
        &self,
        client: &Client,
        request: &Request<'_>,
        discovered: Result<Option<Answer<'_>>, Cause>,
        out: &mut [u8],
        stats: &Stats,
    ) -> Reply {
        let kind = match discovered {
            Ok(_) => Kind::success(Method::BINDING),
            Err(_) => Kind::error(Method::BINDING),
        };
        let mut writer = Writer::new(out, kind, &request.id);
        let mut detour = None;
        match &discovered {
            Ok(answer) => {
                stats.bindings.add(1);
                // RFC 3489 knows no XOR-MAPPED-ADDRESS.
                if request.message.is_classic() {
                    writer.address(attribute::MAPPED_ADDRESS, client.tuple.client);
                } else {
                    writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client.tuple.client);
                }
                if let Some(answer) = answer {
                    answer.write(&mut writer, client, request);
                    detour = answer.detour(client);
                }
            }
            Err(cause) => {
                stats.refuse(*cause);
                writer.error_code(cause.code(), "");
                if *cause == Cause::UnknownAttribute {
                    writer.unknown_attributes(request.unknown());
                }
            }
        }
        let length = finish(writer, request);
        let refusal = discovered.err();
        Reply { length, method: Method::BINDING, refusal, proven: false, detour }
    }

    /// Answers a request that a realm's authentication has refused.
    pub(super) fn deny(
        &self,
        now: Now,
        client: &Client,
        request: &Request<'_>,
        (realm, denial): (&Realm, Denial),
        out: &mut [u8],
        stats: &Stats,
    ) -> Reply {
        let cause = Cause::Auth(denial.kind);
        if !self.settings.may_be_self_check(&client.tuple) {
            stats.refuse(cause);
        }
        let length = self.denial_response(now.mono, client, request, (realm, denial), out);
        let (method, proven) = (request.method, denial.proven);
        Reply { length, method, refusal: Some(cause), proven, detour: None }
    }

    /// 400, 401, 438 or 500, as short as the RFC allows (RFC 8489 §9.2.4): the sender's address may
    /// be forged. A nonce that was sent back proves it, and earns the reason in words.
    pub(super) fn denial_response(
        &self,
        now: Mono,
        client: &Client,
        request: &Request<'_>,
        (realm, denial): (&Realm, Denial),
        out: &mut [u8],
    ) -> usize {
        let cause = Cause::Auth(denial.kind);
        let mut writer = Writer::new(out, Kind::error(request.method), &request.id);
        let authority = &realm.authority;
        let facts = Facts { request, realm: realm.name(), user: None };
        if denial.proven {
            self.write_cause(&mut writer, cause, &facts);
        } else {
            writer.error_code(cause.code(), "");
        }
        if denial.kind == DenialKind::UnexpectedToken {
            writer.unknown_attributes(&[attribute::ACCESS_TOKEN]);
        } else if asks_again(denial.kind) {
            let (address, for_md5) = (client.tuple.client, denial.kind == DenialKind::OnlyMd5);
            let nonce = if for_md5 {
                authority.challenge_for_md5(address, now)
            } else {
                authority.challenge(address, now)
            };
            writer.attribute(attribute::REALM, authority.realm().as_bytes());
            writer.attribute(attribute::NONCE, &nonce);
            if let Some(algorithms) = authority.algorithms().filter(|_| !for_md5) {
                writer.attribute(attribute::PASSWORD_ALGORITHMS, algorithms);
            }
            // RFC 7635 §4
            if let Some(name) = authority.third_party().filter(|_| cause.code() == 401) {
                writer.attribute(attribute::THIRD_PARTY_AUTHORIZATION, name.as_bytes());
            }
        }
        finish(writer, request)
    }
}

/// Whether a refusal brings what the client needs to do better.
const fn asks_again(kind: DenialKind) -> bool {
    use DenialKind::{BidDown, Incomplete, NotAsked, StoreDown};
    !matches!(kind, Incomplete | BidDown | NotAsked | StoreDown)
}

/// What the answer to a Connect needs of its request: it comes when the peer has answered.
pub(super) struct Asked {
    id: TransactionId,
    credential: Arc<Credential>,
    digest: Digest,
    fingerprint: bool,
}

impl Asked {
    /// The success response (RFC 6062 §5.2).
    pub(super) fn connected(
        &self,
        connection: ConnectionId,
        software: Option<&str>,
        out: &mut [u8],
    ) -> usize {
        let mut writer = Writer::new(out, Kind::success(Method::CONNECT), &self.id);
        writer.number(attribute::CONNECTION_ID, connection.get());
        if let Some(software) = software {
            writer.attribute(attribute::SOFTWARE, software.as_bytes());
        }
        self.finish(writer)
    }

    /// The error response.
    pub(super) fn refused(&self, cause: Cause, explain: bool, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out, Kind::error(Method::CONNECT), &self.id);
        let standard = error_code::phrase(cause.code());
        writer.error_code(cause.code(), if explain { cause.phrase() } else { standard });
        self.finish(writer)
    }

    fn finish(&self, mut writer: Writer<'_>) -> usize {
        writer.integrity(self.credential.key().mac(self.digest));
        end(writer, self.fingerprint)
    }
}

impl Context<'_> {
    /// What a later answer will need.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            id: self.request.id,
            credential: Arc::clone(&self.who.credential),
            digest: self.who.digest,
            fingerprint: self.request.message.has_fingerprint(),
        }
    }

    /// Begins a success response.
    pub(super) fn success<'b>(&self, out: &'b mut [u8]) -> Writer<'b> {
        Writer::new(out, Kind::success(self.request.method), &self.request.id)
    }

    /// Completes a response with integrity (RFC 8489 §9.2.4) and, if asked so, FINGERPRINT.
    pub(super) fn finish(&self, mut writer: Writer<'_>, software: Option<&str>) -> usize {
        if let Some(software) = software {
            writer.attribute(attribute::SOFTWARE, software.as_bytes());
        }
        writer.integrity(self.who.credential.key().mac(self.who.digest));
        finish(writer, self.request)
    }
}

fn finish(writer: Writer<'_>, request: &Request<'_>) -> usize {
    end(writer, request.message.has_fingerprint())
}

fn end(mut writer: Writer<'_>, fingerprint: bool) -> usize {
    if fingerprint {
        writer.fingerprint();
    }
    // A response that does not fit is not sent: its length is 0. RESPONSE_MAX has room for all.
    writer.finish().unwrap_or(0)
}
