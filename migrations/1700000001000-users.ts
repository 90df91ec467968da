import type { MigrationInterface, QueryRunner } from 'typeorm'

export class Users1700000001000 implements MigrationInterface {
  name = 'Users1700000001000'

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table user_account (
        id          uuid primary key,
        email       text not null,
        name        text not null,
        permissions text[] not null,
        version     integer not null
      )`)
    // Nearly everywhere, addresses that differ only in case belong to the same mailbox.
    await queryRunner.query(`create unique index user_account_email_key on user_account (lower(email))`)
    await queryRunner.query(`
      create table welcome_message (
        user_id uuid primary key,
        text    text not null,
        version integer not null
      )`)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`drop table welcome_message`)
    await queryRunner.query(`drop table user_account`)
  }
}
