import type { z } from 'zod'

/** A class whose instance holds settings. Handlers get it by `@inject`. */
export interface SettingsClass<Schema extends z.ZodObject = z.ZodObject> {
  readonly schema: Schema
  readonly name: string
  new (values: never): object
}

interface SettingsClassOf<Schema extends z.ZodObject> {
  readonly schema: Schema
  readonly name: string
  new (values: z.output<Schema>): Readonly<z.output<Schema>>
}

/**
 * Declares environment variables of a module. Each field of the schema has the name of a variable and gets its text; a variable
 * that is empty counts as not set.
 *
 * ```ts from test/integration/kernel/modules.test.ts#CourierSettings
 * class CourierSettings extends settings(
 *   z.object({ COURIER_NAME: z.string(), COURIER_ATTEMPTS: z.coerce.number().int().default(3) }),
 * ) {}
 * ```
 *
 * A module lists the class under `settings`. An invalid value stops the start with one line that names the variable. Every
 * variable can also be read from a file, whose path is in `NAME_FILE`.
 */
export function settings<Schema extends z.ZodObject>(schema: Schema): SettingsClassOf<Schema> {
  class Settings {
    static readonly schema = schema
    constructor(values: z.output<Schema>) {
      Object.assign(this, values)
      Object.freeze(this)
    }
  }
  return Settings as unknown as SettingsClassOf<Schema>
}
