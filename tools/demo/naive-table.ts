/** The table of the naive nodes, which have no migrations. */
export async function createNaiveTable(execute: (statement: string) => Promise<unknown>): Promise<void> {
  await execute(`
    create table naive_user (
      id      uuid primary key,
      email   text not null unique,
      name    text not null,
      version integer not null
    )`)
}
