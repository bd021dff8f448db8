//! No statement reads a whole table, but for those that people wait for.

use rusqlite::{params_from_iter, types::Null};

use tesfs_pathtree::{Chain, DbError};

use super::*;

/// Statements that look at every row, because that is what was asked for.
const MAY_SCAN: [&str; 4] = [
    "GROUP BY 1, 2",                           // totals, for `status`
    "coalesce(sum(size_bytes), 0) FROM blobs", // the total of a progress bar
    "WHERE refs <> coalesce(count, 0)",        // recount
    "FROM drafts ORDER BY number",             // every record of a draft, at a start
];

/// Returns the SQL of every `prepare_cached` in this crate's sources.
fn statements() -> Vec<String> {
    let columns = "number, state, size_bytes, refs, hash, draft, settled, unreferenced_ns";
    let mut statements = Vec::new();
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&source).unwrap();
        for call in text.split("prepare_cached(").skip(1) {
            let end = call.find(".and_then").unwrap_or(call.len());
            let call = call[..end].replace("blob_row_columns!()", &format!("\"{columns}\""));
            let literals: String = call.split('"').skip(1).step_by(2).collect();
            statements.push(literals);
        }
    }
    statements
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs"))
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .collect()
}

#[test]
fn no_statement_scans_a_table() {
    let rig = Rig::new();
    let references = "SELECT base AS blob FROM drafts WHERE base IS NOT NULL";
    let statements = statements();
    assert!(statements.len() > 30, "{} statements were found", statements.len());
    for sql in statements {
        let sql = sql.replace("{references}", references);
        let plan: Vec<String> = rig
            .db()
            .read(|conn| {
                conn.prepare_cached(&format!("EXPLAIN QUERY PLAN {sql}"))
                    .and_then(|mut stmt| {
                        let nulls = vec![Null; stmt.parameter_count()];
                        stmt.query_map(params_from_iter(nulls), |row| row.get(3))?.collect()
                    })
                    .map_err(|source| DbError { doing: "explaining", source })
            })
            .unwrap_or_else(|err| panic!("{sql}\n{}", Chain(&err)));
        let scans = |step: &String| {
            let table = step.contains("SCAN blobs") || step.contains("SCAN drafts");
            table && !step.contains("USING INDEX") && !step.contains("USING COVERING INDEX")
        };
        let may_scan = MAY_SCAN.iter().any(|part| sql.contains(part));
        assert!(may_scan || !plan.iter().any(scans), "{sql}\n{plan:#?}");
    }
}
