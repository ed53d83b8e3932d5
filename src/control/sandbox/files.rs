//! Landlock: which files can be reached.

use landlock::{
    ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};

use crate::config::Reach;

/// The newest rules that are known here; an older kernel keeps those that it knows.
const NEWEST: ABI = ABI::V5;

/// Allows these directories and nothing else. The kernel's version of the rules, or none when it has none.
///
/// # Errors
/// What the system says.
pub(super) fn restrict(reach: &Reach) -> Result<Option<i32>, String> {
    let failed = |error: RulesetError| format!("Landlock: {error}");
    // The right to execute is left out: nobody has it anywhere.
    let write = AccessFs::from_all(NEWEST) & !AccessFs::Execute;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(&reach.read, read)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(&reach.written, write)))
        .and_then(|rules| rules.restrict_self())
        .map_err(failed)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Ok(None);
    }
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    })
}
