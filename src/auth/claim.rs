use crate::stun::attribute;

/// What a request says about its sender: the attributes of RFC 8489 §9.2 and RFC 7635, unchecked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim<'a> {
    /// USERNAME
    pub username: Option<&'a [u8]>,
    /// USERHASH
    pub userhash: Option<&'a [u8]>,
    /// REALM
    pub realm: Option<&'a [u8]>,
    /// NONCE
    pub nonce: Option<&'a [u8]>,
    /// PASSWORD-ALGORITHM
    pub algorithm: Option<&'a [u8]>,
    /// PASSWORD-ALGORITHMS
    pub algorithms: Option<&'a [u8]>,
    /// ACCESS-TOKEN
    pub token: Option<&'a [u8]>,
}

impl<'a> Claim<'a> {
    /// Takes the attribute if it belongs here; the first of a kind counts (RFC 8489 §14).
    pub fn take(&mut self, kind: u16, value: &'a [u8]) -> bool {
        let slot = match kind {
            attribute::USERNAME => &mut self.username,
            attribute::USERHASH => &mut self.userhash,
            attribute::REALM => &mut self.realm,
            attribute::NONCE => &mut self.nonce,
            attribute::PASSWORD_ALGORITHM => &mut self.algorithm,
            attribute::PASSWORD_ALGORITHMS => &mut self.algorithms,
            attribute::ACCESS_TOKEN => &mut self.token,
            _ => return false,
        };
        slot.get_or_insert(value);
        true
    }
}
