import { DomainError } from '../../../kernel/domain/index.js'

export function productNotFound(sku: string): DomainError {
  return new DomainError('not-found', 'product-not-found', `There is no product ${sku}`)
}
