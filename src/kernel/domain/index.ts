/** All that the domain of a module may import, apart from TypeORM's decorators. */
export { z } from 'zod'
export { AggregateRoot } from './aggregate-root.js'
export { DomainError } from './domain-error.js'
export {
  type DomainEvent,
  type DomainEventClass,
  domainEvent,
  nameOf,
  type PayloadOf,
} from './domain-event.js'
export { assertPrecondition, Precondition, PreconditionFailedError } from './precondition.js'
export { SoftDeletableAggregate } from './soft-deletable-aggregate.js'
export { displayName, Slug, text, Uuid } from './values.js'
