import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { MigrationInterface } from 'typeorm'

export type MigrationClass = new () => MigrationInterface

/** A file with code, compiled or not, and not one of the files that a compiler writes beside it. */
const codeFile = /^(?!.*\.d\.ts$).*\.(?:ts|js)$/

/**
 * Imports every migration of a folder, in the order of the timestamps at the ends of their class names.
 *
 * @throws TypeError if a file exports no migration, or two migrations have one timestamp: it decides their order
 */
export async function readMigrations(folder: URL): Promise<readonly MigrationClass[]> {
  const found: { readonly migration: MigrationClass; readonly file: string; readonly timestamp: string }[] =
    []
  const files = (await readdir(fileURLToPath(folder))).filter((file) => codeFile.test(file)).sort()
  for (const file of files) {
    const exported = Object.values((await import(new URL(file, folder).href)) as object)
    const migrations = exported.filter(isMigration)
    if (migrations.length === 0)
      throw new TypeError(
        `migrations/${file} exports no migration: a class with the method up, whose name ends in a timestamp of 13 digits`,
      )
    for (const migration of migrations) {
      const timestamp = migration.name.slice(-13)
      const other = found.find((one) => one.timestamp === timestamp)
      if (other)
        throw new TypeError(
          `migrations/${file} and migrations/${other.file} have the same timestamp ${timestamp}: rename the later one, file and class`,
        )
      found.push({ migration, file, timestamp })
    }
  }
  return found
    .sort((one, other) => Number(one.timestamp) - Number(other.timestamp))
    .map(({ migration }) => migration)
}

function isMigration(value: unknown): value is MigrationClass {
  return (
    typeof value === 'function' && /\d{13}$/.test(value.name) && typeof value.prototype?.up === 'function'
  )
}
