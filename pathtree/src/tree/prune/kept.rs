//! Which points in time are still whole after pruning.
//!
//! Pruning keeps versions, and each facet is thinned by itself: between two kept points a look
//! would show a mixture that never was. So who looks back is led to the nearest older point that
//! shows exactly what was there.

use rusqlite::{Connection, params};

use crate::{
    db::{DbError, Doing as _, Tx},
    id::{BranchNumber, Hlc},
    period::Period,
    retention::Stretch,
    tree::View,
};

/// Notes what pruning leaves whole, before it deletes anything.
pub(super) fn note_thinned(
    tx: &Tx<'_>,
    branch: BranchNumber,
    stretches: &[Stretch],
) -> Result<(), DbError> {
    for Stretch { until, periods } in stretches {
        let bits: i64 = periods.iter().map(|period| bit(*period)).sum();
        tx.prepare_cached(
            "INSERT INTO thinned (branch, periods, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (branch, periods) DO UPDATE SET until = max(until, ?3)",
        )
        .and_then(|mut stmt| stmt.execute(params![branch, bits, until]))
        .doing("noting what stays whole")?;
    }
    Ok(())
}

fn bit(period: Period) -> i64 {
    1 << (period as i64)
}

/// Returns the last reading up to `at` as of which the view shows exactly what was there: `at`
/// itself, the end of a kept stretch, or what a fork or snapshot shows. `None` where nothing that
/// old is kept.
///
/// Transient files are left out of account: they have no history.
///
/// # Errors
///
/// A failed query.
pub fn nearest_kept(conn: &Connection, view: &View, at: Hlc) -> Result<Option<Hlc>, DbError> {
    let mut at = at;
    loop {
        let mut nearest = at;
        // What a level shows as of its fork is pinned.
        for level in view.levels().iter().filter(|level| level.through > at) {
            match nearest_on(conn, level.branch, nearest)? {
                Some(found) => nearest = found,
                None => return Ok(None),
            }
        }
        if nearest == at {
            return Ok(Some(at));
        }
        at = nearest;
    }
}

fn nearest_on(conn: &Connection, branch: BranchNumber, at: Hlc) -> Result<Option<Hlc>, DbError> {
    let stretches: Vec<(Hlc, Vec<Period>)> = conn
        .prepare_cached("SELECT until, periods FROM thinned WHERE branch = ?1")
        .and_then(|mut stmt| {
            stmt.query_map([branch], |row| {
                let bits: i64 = row.get(1)?;
                let periods = Period::ALL.into_iter().filter(|period| bits & bit(*period) != 0);
                Ok((row.get(0)?, periods.collect()))
            })?
            .collect()
        })
        .doing("asking what is whole")?;
    let mut end = Some(at);
    while let Some(reading) = end {
        let broken = stretches.iter().find(|(until, periods)| {
            reading < *until && !periods.iter().any(|period| ends(*period, reading))
        });
        let Some((_, periods)) = broken else { break };
        end = periods.iter().filter_map(|period| end_before(*period, reading)).max();
    }
    let pinned = last_pin(conn, branch, at)?;
    Ok(end.max(pinned))
}

/// Says whether a reading is the last of a stretch.
fn ends(period: Period, reading: Hlc) -> bool {
    let next = Hlc(reading.0.saturating_add(1));
    period.number(reading.unix_ns()) != period.number(next.unix_ns())
}

/// Returns the last reading before the stretch that a reading lies in.
fn end_before(period: Period, reading: Hlc) -> Option<Hlc> {
    let begin = Hlc::from_unix_ns(period.begin_ns(reading.unix_ns()));
    begin.0.checked_sub(1).map(Hlc)
}

fn last_pin(conn: &Connection, branch: BranchNumber, at: Hlc) -> Result<Option<Hlc>, DbError> {
    conn.prepare_cached(
        "SELECT max(fork) FROM branches
         WHERE parent = ?1 AND parent IS NOT NULL AND fork <= ?2 AND coalesce(abandoned_ns, 1) <> 0",
    )
    .and_then(|mut stmt| stmt.query_row(params![branch, at], |row| row.get(0)))
    .doing("asking for a fork that is shown")
}
