import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { ConfigError } from './config-error.js'

/** Settings that are secrets, or hold one. Each may be in a file instead, which `NAME_FILE` names. */
export const secretSettings = ['DATABASE_URL', 'REDIS_URL', 'ADMIN_TOKEN'] as const

export type Environment = Readonly<Record<string, string | undefined>>

/** Bytes of a file: longer than any secret, and short enough for whatever was named by mistake. */
const longestFile = 16_384

/**
 * Reads the files that an orchestrator mounts for secrets, once, and gives their contents under the settings' own names, without
 * the line break that editors and `echo` put at the end. An empty variable counts as not set.
 *
 * @throws ConfigError naming the first variable that will not do; paths are not repeated, as one may hold the secret itself
 */
export function readSecretFiles(environment: Environment): Environment {
  const read: Record<string, string> = {}
  for (const name of secretSettings) {
    const variable = `${name}_FILE`
    const path = environment[variable]
    if (!path) continue
    if (environment[name])
      throw new ConfigError(`${variable}: ${name} is set as well; only one of them may be`)
    read[name] = readSecret(variable, path)
  }
  return { ...environment, ...read }
}

/** For the environment of a process that is to have other servers: what an inherited file names would be in their way. */
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
    // Without O_NONBLOCK, opening a pipe waits for somebody to write to it.
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
