//! What a role must be granted: to make the schema, to look into it, and to write to it. What it lacks is told as the statement that
//! gives it.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::session_failure::SessionFailure;
use crate::store::StoreFault;

/// What deliveries and the probe do to the tables. What a newer version took away is asked for no more.
const NEEDED: &str = "(VALUES ('tenants', 'INSERT'), ('producers', 'INSERT'), ('secrets', 'INSERT'),
    ('leaves', 'INSERT'), ('leaves', 'SELECT'), ('leaves', 'UPDATE'),
    ('events', 'INSERT'), ('events', 'SELECT'), ('events', 'UPDATE'), ('bodies', 'INSERT'),
    ('payments', 'INSERT'), ('payments', 'SELECT'), ('payments', 'UPDATE'), ('superseded', 'INSERT'),
    ('probes', 'INSERT'), ('probes', 'SELECT'), ('probes', 'UPDATE')) AS needed (relation, privilege)";
/// What deliveries call.
const CALLED: &str = "('commit_4', 'commit_plain_4')";

fn lacking(place: &str, role: String, what: &'static str, rights: &str) -> SessionFailure {
    let grant = format!("GRANT {rights} TO \"{role}\"");
    SessionFailure::Fault(StoreFault::Rights {
        place: place.to_owned(),
        role,
        what,
        grant,
    })
}

/// Whether the role may make the schema, where that is still to be made or to be brought up to date.
pub(super) async fn to_make(client: &Client, place: &str) -> Result<(), SessionFailure> {
    let row = client
        .query_typed(
            "SELECT current_user::text AS role, current_database()::text AS database,
                 to_regnamespace('countersign') IS NULL AS is_empty,
                 CASE WHEN to_regnamespace('countersign') IS NULL
                     THEN has_database_privilege(current_database(), 'CREATE')
                     ELSE has_schema_privilege('countersign', 'CREATE')
                 END AS may_create",
            &[],
        )
        .await?
        .pop()
        .ok_or(SessionFailure::ReadOnly)?;
    if row.try_get("may_create")? {
        return Ok(());
    }
    let rights = if row.try_get("is_empty")? {
        let database: &str = row.try_get("database")?;
        format!("CREATE ON DATABASE \"{database}\"")
    } else {
        "CREATE ON SCHEMA countersign".to_owned()
    };
    Err(lacking(
        place,
        row.try_get("role")?,
        "make the schema",
        &rights,
    ))
}

/// The right that is lacking, where a migration failed for the want of it: the server's own words do not say how it is given.
pub(super) async fn behind(
    client: &Client,
    place: &str,
    failure: SessionFailure,
) -> SessionFailure {
    let SessionFailure::Fault(StoreFault::Migration { source, .. }) = &failure else {
        return failure;
    };
    let refused = source.downcast_ref::<tokio_postgres::Error>();
    if refused.and_then(tokio_postgres::Error::code) != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return failure;
    }
    match to_make(client, place).await {
        Err(lacking @ SessionFailure::Fault(_)) => lacking,
        Ok(()) | Err(_) => failure,
    }
}

/// What the role lacks, to which the server refused a look at the schema.
pub(super) async fn to_look(
    client: &Client,
    place: &str,
    refused: tokio_postgres::Error,
) -> SessionFailure {
    let asked = client
        .query_typed(
            "SELECT current_user::text AS role,
                 has_schema_privilege(to_regnamespace('countersign'), 'USAGE') AS may_use",
            &[],
        )
        .await;
    let Some(row) = asked.ok().and_then(|mut rows| rows.pop()) else {
        return SessionFailure::Refused(refused);
    };
    match (row.try_get("role"), row.try_get("may_use")) {
        (Ok(role), Ok(Some(false))) => {
            lacking(place, role, "use the schema", "USAGE ON SCHEMA countersign")
        }
        (Ok(role), Ok(Some(true))) => {
            let rights = "SELECT ON ALL TABLES IN SCHEMA countersign";
            lacking(place, role, "read the schema's tables", rights)
        }
        _ => SessionFailure::Refused(refused),
    }
}

/// Whether the role may do what deliveries need, in a schema that is up to date.
pub(super) async fn to_write(client: &Client, place: &str) -> Result<(), SessionFailure> {
    // A right to some of the columns may be a right to all that are used: it counts.
    let row = client
        .query_typed(
            &format!(
                "SELECT current_user::text AS role,
                     (SELECT string_agg(DISTINCT privilege, ', ' ORDER BY privilege) FROM {NEEDED}
                         WHERE has_any_column_privilege(to_regclass('countersign.' || relation), privilege) IS FALSE) AS lacking,
                     (SELECT coalesce(bool_and(has_function_privilege(p.oid, 'EXECUTE')), true) FROM pg_proc p
                         WHERE p.pronamespace = to_regnamespace('countersign') AND p.proname IN {CALLED}) AS may_call"
            ),
            &[],
        )
        .await?
        .pop()
        .ok_or(SessionFailure::ReadOnly)?;
    let role: String = row.try_get("role")?;
    if let Some(rights) = row.try_get::<_, Option<String>>("lacking")? {
        let rights = format!("{rights} ON ALL TABLES IN SCHEMA countersign");
        return Err(lacking(
            place,
            role,
            "write to the schema's tables",
            &rights,
        ));
    }
    if !row.try_get::<_, bool>("may_call")? {
        let rights = "EXECUTE ON ALL FUNCTIONS IN SCHEMA countersign";
        return Err(lacking(place, role, "call the schema's functions", rights));
    }
    Ok(())
}
