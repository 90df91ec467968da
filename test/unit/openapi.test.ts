import 'reflect-metadata'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { FastifyInstance } from 'fastify'
import { createServer } from '../../src/kernel/http/server.js'
import { modules } from '../../src/service-modules.js'
import { silentLogger } from '../support/silent-logger.js'

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly { readonly $ref?: string }[]
  readonly responses: Record<string, { readonly $ref?: string; readonly headers?: object }>
}

const linter = fileURLToPath(new URL('../../node_modules/@redocly/cli/bin/cli.js', import.meta.url))
let app: FastifyInstance
let document: { paths: Record<string, Record<string, Operation>> }

beforeAll(async () => {
  app = await createServer({
    logger: silentLogger,
    modules,
    routeContext: { commandBus: undefined as never, queryBus: undefined as never },
    consistency: {
      check: undefined as never,
      applied: undefined as never,
      tierHeader: false,
      isServing: () => false,
    },
    health: { report: () => undefined as never },
    connections: { maxConnections: 10, answerTimeoutMs: 10_000, closeTimeoutMs: 100 },
  })
  document = (await app.inject('/openapi.json')).json()
})
afterAll(() => app.close())

describe('the OpenAPI document', () => {
  test('passes the recommended rules of redocly lint without an error or a warning', () => {
    const folder = mkdtempSync(join(tmpdir(), 'openapi-'))
    try {
      writeFileSync(join(folder, 'openapi.json'), JSON.stringify(document))
      const { stdout, stderr } = spawnSync(
        process.execPath,
        [linter, 'lint', 'openapi.json', '--extends', 'recommended', '--format', 'json'],
        {
          cwd: folder,
          encoding: 'utf8',
          // It would otherwise ask its makers for a newer version, and tell them that it ran.
          env: {
            PATH: process.env.PATH,
            REDOCLY_TELEMETRY: 'off',
            REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
          },
        },
      )
      const report = JSON.parse(stdout || `{"stderr": ${JSON.stringify(stderr)}}`)
      expect(report).toMatchObject({ totals: { errors: 0, warnings: 0, ignored: 0 }, problems: [] })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  const operations = () => Object.values(document.paths).flatMap((methods) => Object.entries(methods))

  test('gives each operation an id of its own', () => {
    const ids = operations().map(([, { operationId }]) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).not.toContain(undefined)
  })

  test('names every header that routes of modules read and answer', () => {
    const parametersOf = ({ parameters = [] }: Operation) =>
      parameters.flatMap(({ $ref }) => ($ref ? [$ref.split('/').at(-1)] : []))
    for (const [path, methods] of Object.entries(document.paths)) {
      if (path.startsWith('/health/')) continue
      for (const [method, operation] of Object.entries(methods)) {
        const own = Object.entries(operation.responses).filter(([, { $ref }]) => !$ref)
        expect(parametersOf(operation)).toEqual(
          expect.arrayContaining(['ConsistencyToken', ...(method === 'get' ? [] : ['IfMatch'])]),
        )
        for (const [status, { headers }] of own) {
          expect(headers).toHaveProperty('Consistency-Token')
          if (method === 'get') expect(headers).toHaveProperty('Cache-Status')
          if (status === '201')
            expect(Object.keys(headers!)).toEqual(expect.arrayContaining(['Location', 'ETag']))
        }
      }
    }
  })

  test('names every status that an operation can answer', () => {
    const transport = ['400', '408', '414', '415', '417', '431', '500', '501', '505']
    const statusesOf = (path: string, method: string) => Object.keys(document.paths[path]![method]!.responses)
    for (const [path, methods] of Object.entries(document.paths))
      for (const method of Object.keys(methods))
        expect(statusesOf(path, method)).toEqual(expect.arrayContaining([...transport]))
    for (const [path, methods] of Object.entries(document.paths)) {
      if (path.startsWith('/health/')) continue
      for (const method of Object.keys(methods))
        expect(statusesOf(path, method)).toEqual(
          expect.arrayContaining(method === 'get' ? ['503'] : ['409', '412', '413', '503']),
        )
    }
  })
})
