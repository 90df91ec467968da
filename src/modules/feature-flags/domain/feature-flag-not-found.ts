import { DomainError } from '../../../kernel/domain/index.js'

export function featureFlagNotFound(name: string): DomainError {
  return new DomainError('not-found', 'feature-flag-not-found', `There is no feature flag ${name}`)
}
