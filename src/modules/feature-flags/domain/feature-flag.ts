import { Column, Entity, PrimaryColumn } from 'typeorm'
import { SoftDeletableAggregate } from '../../../kernel/domain/index.js'
import { FeatureFlagChanged, FeatureFlagCreated, FeatureFlagDeleted } from './feature-flag-events.js'

export interface FeatureFlagState {
  readonly enabled: boolean
  readonly description: string | null
}

@Entity('feature_flag')
export class FeatureFlag extends SoftDeletableAggregate {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'feature_flag_pkey' })
  name!: string

  @Column('boolean')
  enabled!: boolean

  @Column('text', { nullable: true })
  description!: string | null

  static create(name: string, state: FeatureFlagState): FeatureFlag {
    const flag = new FeatureFlag()
    flag.name = name
    flag.#create(state)
    return flag
  }

  /** Replaces the whole state. A deleted flag is created again. */
  replace(state: FeatureFlagState): void {
    if (!this.exists) {
      this.#create(state)
      return
    }
    if (state.enabled === this.enabled && state.description === this.description) return
    this.#assign(state)
    this.raise(new FeatureFlagChanged({ name: this.name, enabled: this.enabled }))
  }

  /** Save the flag afterwards; do not remove it from its store. */
  delete(at: Date): void {
    if (!this.exists) return
    this.deletedAt = at
    this.raise(new FeatureFlagDeleted({ name: this.name }))
  }

  #create(state: FeatureFlagState): void {
    this.deletedAt = null
    this.#assign(state)
    this.raise(new FeatureFlagCreated({ name: this.name, enabled: this.enabled }))
  }

  #assign({ enabled, description }: FeatureFlagState): void {
    this.enabled = enabled
    this.description = description
  }
}
