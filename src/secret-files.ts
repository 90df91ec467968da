import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { ConfigError } from './config-error.js'

/** Settings that are or contain secrets. Each can be in a file instead, whose path is in `NAME_FILE`. */
export const secretSettings = ['DATABASE_URL', 'REDIS_URL', 'ADMIN_TOKEN'] as const

export type Environment = Readonly<Record<string, string | undefined>>

/** The most bytes of a file. That is more than any secret has, and limits what is read if the path is wrong. */
const longestFile = 16_384

/**
 * Reads the files that an orchestrator mounts for secrets. It returns their contents under the names of the settings, without
 * line breaks at the end, which editors and `echo` add. An empty variable counts as not set.
 *
 * @param names of the settings that may be in files
 * @throws ConfigError that names the first invalid variable. It does not repeat the path, which may be the secret itself
 */
export function readSecretFiles(
  environment: Environment,
  names: readonly string[] = secretSettings,
): Environment {
  const read: Record<string, string> = {}
  for (const name of names) {
    const variable = `${name}_FILE`
    const path = environment[variable]
    if (!path) continue
    if (environment[name])
      throw new ConfigError(`${variable}: ${name} is set as well; only one of them may be`)
    read[name] = readSecret(variable, path)
  }
  return { ...environment, ...read }
}

/** For the environment of a process that gets other servers. Inherited `NAME_FILE` variables would conflict with theirs. */
export function withoutSecretFiles<Given extends Environment>(environment: Given): Given {
  const variables: readonly string[] = secretSettings.map((name) => `${name}_FILE`)
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !variables.includes(name)),
  ) as Given
}

function readSecret(variable: string, path: string): string {
  const text = decode(variable, readBytes(variable, path)).replace(/[\r\n]+$/, '')
  if (text === '') throw new ConfigError(`${variable}: the file is empty`)
  return text
}

function readBytes(variable: string, path: string): Buffer {
  let file: number | undefined
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for a writer.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    const isFile = fstatSync(file).isFile()
    if (!isFile) throw new ConfigError(`${variable}: this is not a regular file`)
    const bytes = Buffer.alloc(longestFile + 1)
    const length = readSync(file, bytes)
    if (length > longestFile)
      throw new ConfigError(`${variable}: the file is longer than ${longestFile} bytes`)
    return bytes.subarray(0, length)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code = 'no such path' } = error as NodeJS.ErrnoException
    throw new ConfigError(`${variable}: the file cannot be read (${code})`)
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

function decode(variable: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new ConfigError(`${variable}: the file is not text in UTF-8`)
  }
}
