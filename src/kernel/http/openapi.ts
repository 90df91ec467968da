import { STATUS_CODES } from 'node:http'
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import { z } from 'zod'

const problemType = 'application/problem+json'

/** The answer to a request that fails, for `response` in a route's schema: `{ 200: UserView, 404: problemAnswer }`. */
export const problemAnswer = {
  content: {
    [problemType]: {
      schema: z.object({
        type: z.string(),
        title: z.string(),
        status: z.number().int(),
        detail: z.string().optional(),
        errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
      }),
    },
  },
}

/** Statuses with which the kernel can answer any request: see `request-rules.ts` and `answerUnreadable` in `server.ts`. */
const always = [400, 408, 414, 415, 417, 431, 500, 501, 505]
const ofModules = [503]
/** A write can lose against others (409), can have an `If-Match` (412), and can have a body (413). */
const ofWrites = [409, 412, 413]

const marker = 'x-of-module'

interface Operation {
  parameters?: unknown[]
  responses: Record<string, Response>
  [marker]?: boolean
}

interface Response {
  description?: string
  headers?: Record<string, unknown>
  content?: Record<string, { schema?: { properties?: Record<string, unknown> } }>
}

type Paths = Record<string, Record<string, Operation>>

/** Marks the routes of modules, which have tokens and preconditions, for `openApiOptions`. */
export function markModuleRoutes(scope: FastifyInstance): void {
  scope.addHook('onRoute', (route) => {
    route.schema = { ...route.schema, [marker]: true } as NonNullable<typeof route.schema>
  })
}

/**
 * Makes the OpenAPI document from the routes. A route declares its schemas, its `operationId`, and problems of its own such as
 * 404. This adds what the kernel does for every route: headers, and the problems that any request can cause.
 */
export function openApiOptions(info: { title: string; version: string; description: string }) {
  return {
    openapi: {
      openapi: '3.1.0',
      info: { ...info, license: { name: 'MIT', identifier: 'MIT' } },
      servers: [{ url: '/' }],
      // No operation asks who the client is. The linter wants that said, and warns of a scheme that nothing uses.
      security: [],
    },
    transform: jsonSchemaTransform,
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject
      const { openapiObject } = document
      const used = new Set<number>()
      const paths = structuredClone(openapiObject.paths ?? {}) as unknown as Paths
      for (const methods of Object.values(paths))
        for (const [method, operation] of Object.entries(methods)) complete(method, operation, used)
      return {
        ...openapiObject,
        paths,
        components: {
          ...openapiObject.components,
          schemas: { Problem: problemSchema },
          parameters,
          headers,
          responses: Object.fromEntries([...used].map((status) => [nameOf(status), problemResponse(status)])),
        },
      } as typeof openapiObject
    },
  } satisfies FastifyDynamicSwaggerOptions
}

function complete(method: string, operation: Operation, used: Set<number>): void {
  const isOfModule = operation[marker] === true
  delete operation[marker]
  const isRead = method === 'get'
  const { responses } = operation
  const representations = Object.values(responses).filter(isRepresentation)
  const names = [
    ...(isOfModule ? ['ConsistencyToken'] : []),
    ...(isOfModule && !isRead ? ['IfMatch'] : []),
    ...(isRead && representations.length > 0 ? ['IfNoneMatch'] : []),
  ]
  operation.parameters = [
    ...(operation.parameters ?? []),
    ...names.map((name) => reference('parameters', name)),
  ]

  if (isRead && representations.length > 0)
    responses[304] = { headers: { ETag: reference('headers', 'ETag') } }
  for (const [status, response] of Object.entries(responses)) {
    response.description = STATUS_CODES[status] ?? status
    if (status === '204') delete response.content
    response.headers = {
      ...response.headers,
      ...(status === '201' && { Location: reference('headers', 'Location') }),
      ...(isRepresentation(response) && { ETag: reference('headers', 'ETag') }),
      ...(isOfModule && { 'Consistency-Token': reference('headers', 'Consistency-Token') }),
      ...(isOfModule && isRead && { 'Cache-Status': reference('headers', 'Cache-Status') }),
    }
  }

  const declared = Object.keys(responses).filter((status) => responses[status]?.content?.[problemType])
  const problems = [...declared.map(Number), ...always]
  if (isOfModule) problems.push(...ofModules, ...(isRead ? [] : ofWrites))
  for (const status of problems) {
    used.add(status)
    responses[status] = reference('responses', nameOf(status))
  }
}

/** Each representation has a `version`, from which its entity tag is made. */
function isRepresentation({ content }: Response): boolean {
  return content?.['application/json']?.schema?.properties?.version !== undefined
}

/** `Not Found` becomes `NotFound`. */
function nameOf(status: number): string {
  return (STATUS_CODES[status] ?? String(status)).replaceAll(/[^A-Za-z]/g, '')
}

function reference(
  kind: 'headers' | 'parameters' | 'responses' | 'schemas',
  name: string,
): Response & { $ref: string } {
  return { $ref: `#/components/${kind}/${name}` }
}

function problemResponse(status: number): Response {
  const mayBeRepeated = status === 409 || status === 503
  return {
    description: STATUS_CODES[status] ?? String(status),
    headers: {
      'Consistency-Token': reference('headers', 'Consistency-Token'),
      'Cache-Status': reference('headers', 'Cache-Status'),
      ...(mayBeRepeated && { 'Retry-After': reference('headers', 'Retry-After') }),
    },
    content: { [problemType]: { schema: reference('schemas', 'Problem') as object } },
  }
}

const problemSchema = {
  description: 'RFC 9457',
  type: 'object',
  required: ['type', 'title', 'status'],
  properties: {
    type: { type: 'string', format: 'uri', description: 'Names the kind of problem' },
    title: { type: 'string', description: 'The same for every problem of the type' },
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: { type: 'string', description: 'What is wrong with this request' },
    errors: {
      description: 'Which parts of the request are invalid, and why',
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'message'],
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
}

const tokenSchema = { type: 'string', pattern: '^[0-9a-f]{16}\\.(\\d+|pending)$' }
const tagsSchema = { type: 'string', examples: ['"3"'] }

const parameters = {
  ConsistencyToken: {
    name: 'Consistency-Token',
    in: 'header',
    description: 'From an earlier answer: this answer will not be older than that one',
    schema: tokenSchema,
  },
  IfMatch: {
    name: 'If-Match',
    in: 'header',
    description: 'The entity tags, or `*`, of which the present representation must have one; otherwise 412',
    schema: tagsSchema,
  },
  IfNoneMatch: {
    name: 'If-None-Match',
    in: 'header',
    description: 'Entity tags that the client has; 304 if the present representation has one of them',
    schema: tagsSchema,
  },
} as const

const headers = {
  'Consistency-Token': {
    description: 'Of answers to reads and writes. Send it back to see no older state, on any node.',
    schema: tokenSchema,
  },
  'Cache-Status': {
    description: 'Of answers to reads: which tier has answered (RFC 9211)',
    schema: { type: 'string', examples: ['l1; hit'] },
  },
  ETag: { description: 'Made of the `version`', schema: { type: 'string' } },
  Location: {
    description: 'The path of the created resource',
    schema: { type: 'string', format: 'uri-reference' },
  },
  'Retry-After': { description: 'Seconds', schema: { type: 'integer', minimum: 0 } },
} as const
