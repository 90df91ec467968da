import type { z } from 'zod'
import type { Consistency } from '../journal/consistency.js'

declare const returns: unique symbol
declare const kind: unique symbol

type Kind = 'command' | 'query'

/** A message whose type (and nothing at run time) says what its handler returns and which bus takes it. */
export interface Returning<Result, K extends Kind = Kind> {
  readonly [returns]?: Result
  readonly [kind]?: K
}

export type ResultOf<Message> = Message extends Returning<infer Result> ? Result : never

/** Any message class of a kind. */
interface AnyMessageClass<K extends Kind> {
  readonly kind: K
  readonly schema: z.ZodObject
  readonly name: string
  new (input: never): object & Returning<unknown, K>
}

export type CommandClass = AnyMessageClass<'command'>
export type QueryClass = AnyMessageClass<'query'>

export interface MessageClass<K extends Kind, Schema extends z.ZodObject, Result> {
  readonly kind: K
  readonly schema: Schema
  readonly name: string
  new (input: z.input<Schema>): Readonly<z.output<Schema>> & Returning<Result, K>
}

/** Passes a message to its handler. */
export interface Bus<K extends Kind> {
  execute<Message extends object & Returning<unknown, K>>(
    message: Message,
    consistency?: Consistency,
  ): Promise<ResultOf<Message>>
}

interface MessageBuilder<K extends Kind, Schema extends z.ZodObject> {
  /** The base class of a message whose handler returns `Result`. */
  returning<Result>(): MessageClass<K, Schema, Result>
}

/**
 * Declares a command: a request to change something.
 *
 * ```ts from test/samples/products.ts#RemoveProduct
 * export class RemoveProduct extends command(z.strictObject({ sku: Slug })).returning<void>() {}
 * ```
 *
 * Its constructor does not validate; the bus does, before it calls the handler.
 */
export function command<Schema extends z.ZodObject>(schema: Schema): MessageBuilder<'command', Schema> {
  return { returning: () => messageClass('command', schema) }
}

/** Declares a query: a question. Its handler must change nothing. */
export function query<Schema extends z.ZodObject>(schema: Schema): MessageBuilder<'query', Schema> {
  return { returning: () => messageClass('query', schema) }
}

function messageClass<K extends Kind, Schema extends z.ZodObject, Result>(
  kind: K,
  schema: Schema,
): MessageClass<K, Schema, Result> {
  class Message {
    static readonly kind = kind
    static readonly schema = schema
    constructor(input: z.input<Schema>) {
      Object.assign(this, input)
    }
  }
  return Message as unknown as MessageClass<K, Schema, Result>
}

export class InvalidMessageError extends Error {
  override readonly name = 'InvalidMessageError'
  constructor(
    message: string,
    readonly issues: readonly { readonly path: string; readonly message: string }[],
  ) {
    super(message)
  }
}

/**
 * Returns a copy of the message to which its schema's defaults and transformations are applied.
 *
 * @throws InvalidMessageError
 */
export function validated<Message extends object>(message: Message): Message {
  const type = message.constructor as unknown as AnyMessageClass<Kind>
  const parsed = type.schema.safeParse({ ...message })
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({
      path: issue.path.join('.'),
      message: issue.message,
    }))
    const [first] = issues
    throw new InvalidMessageError(
      `${type.name}: ${first?.path ? `${first.path}: ` : ''}${first?.message}`,
      issues,
    )
  }
  return Object.assign(Object.create(type.prototype), parsed.data)
}
