import pg from 'pg'
import type { DataSource } from 'typeorm'

/** The role of a node lacks rights that the node needs. The message is one line and names all of them. */
export class MissingRightsError extends Error {
  override readonly name = 'MissingRightsError'
  constructor(role: string, missing: readonly string[]) {
    super(`The role ${role} lacks rights in Postgres (deploy/grants.sql grants them): ${missing.join('; ')}`)
  }
}

interface Need {
  readonly schema: string
  readonly table: string
  readonly privilege: string
  /** The columns on which the privilege is needed. Without them it is needed on the table. */
  readonly columns?: readonly string[]
  /** Whether a service may work without it. */
  readonly optional?: boolean
}

const kernelSchema = 'aftercommit_kernel'

const kernelNeeds: readonly Need[] = Object.entries({
  installation: ['SELECT'],
  outbox_message: ['SELECT', 'INSERT type payload', 'UPDATE position numbering_id numbered_at', 'DELETE'],
  journal_head: ['SELECT', 'UPDATE position numbering_id'],
  journal_branch: ['SELECT', 'INSERT', 'UPDATE branch'],
  numbering_lock: ['UPDATE'],
  event_handler: ['SELECT', 'INSERT', 'UPDATE position'],
  event_delivery: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
}).flatMap(([table, needs]) =>
  needs.map((need) => {
    const [privilege = '', ...columns] = need.split(' ')
    return { schema: kernelSchema, table, privilege, ...(columns.length > 0 && { columns }) }
  }),
)

/** Functions of Postgres itself. Every role can call them, unless that was revoked. */
const catalogFunctions = [
  'pg_control_system',
  'pg_current_wal_lsn',
  'pg_notification_queue_usage',
  'pg_postmaster_start_time',
  'pg_walfile_name',
]

/** Uses object ids, because looking up a name needs a right that may be missing. Objects that do not exist are skipped. */
const sql = `
  with need as (
    select n.oid as schema_id, c.oid as table_id, u.*
    from pg_catalog.jsonb_to_recordset($1::jsonb)
      as u (schema text, "table" text, privilege text, columns text[], optional boolean)
    join pg_catalog.pg_namespace n on n.nspname = u.schema
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = u."table"
  ), function as (
    select p.oid, n.nspname, p.proname
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $2 and p.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype
      or n.nspname = 'pg_catalog' and p.proname = any($3)
  )
  select distinct 'USAGE on schema ' || schema as missing, false as optional from need
  where not pg_catalog.has_schema_privilege(schema_id, 'USAGE')
  union all
  select privilege || coalesce(' (' || pg_catalog.array_to_string(columns, ', ') || ')', '')
    || ' on ' || schema || '.' || "table", coalesce(optional, false)
  from need
  where case when columns is null then not pg_catalog.has_table_privilege(table_id, privilege)
        else exists (select from pg_catalog.unnest(columns) as name
                     where not pg_catalog.has_column_privilege(table_id, name, privilege)) end
  union all
  select 'EXECUTE on function ' || nspname || '.' || proname, false from function
  where not pg_catalog.has_function_privilege(oid, 'EXECUTE')
  order by missing`

/**
 * Checks every right that a node needs, so that a missing one stops the start. Otherwise the first write, retention run or
 * crash of Postgres that needs it would fail. Before the migrations have run, no right is missing.
 *
 * @returns the rights to write the modules' tables that the role lacks, one line for each. A service may not need them: a
 *   module that only marks rows as deleted needs no DELETE
 * @throws MissingRightsError that names the missing rights that the kernel and reads of the modules' tables need
 */
export async function checkRights(dataSource: DataSource): Promise<readonly string[]> {
  const schemaOf = (schema: string | undefined) => schema ?? dataSource.driver.schema ?? 'public'
  const needs: Need[] = [...kernelNeeds]
  for (const { schema, tableName, tableType } of dataSource.entityMetadatas) {
    const table = { schema: schemaOf(schema), table: tableName }
    needs.push({ ...table, privilege: 'SELECT' })
    if (tableType !== 'regular') continue
    for (const privilege of ['INSERT', 'UPDATE', 'DELETE'])
      needs.push({ ...table, privilege, optional: true })
  }
  const { migrationsTableName = 'migrations' } = dataSource.options
  needs.push({ schema: schemaOf(undefined), table: migrationsTableName, privilege: 'SELECT' })
  const rows: { missing: string; optional: boolean }[] = await dataSource.query(sql, [
    JSON.stringify(needs),
    kernelSchema,
    catalogFunctions,
  ])
  const missing = rows.filter(({ optional }) => !optional).map((row) => row.missing)
  if (missing.length > 0) {
    const [row] = await dataSource.query('select current_user as role')
    throw new MissingRightsError((row as { role: string }).role, missing)
  }
  return rows.map((row) => row.missing)
}

/**
 * Finds out why TypeORM could not connect. If the role can use no schema of its search path, TypeORM fails without saying why.
 *
 * @returns a MissingRightsError in that case, otherwise the failure itself
 */
export async function reasonOf(failure: unknown, databaseUrl: string): Promise<unknown> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ role: string; blind: boolean; path: string }>(
      `select current_user as role, current_schema() is null as blind, current_setting('search_path') as path`,
    )
    const [row] = rows
    return row?.blind
      ? new MissingRightsError(row.role, [`USAGE on a schema of its search path, ${row.path}`])
      : failure
  } catch {
    return failure
  } finally {
    await client.end().catch(() => {})
  }
}
