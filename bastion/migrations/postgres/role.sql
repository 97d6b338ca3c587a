-- The role that gateways use, run once by the owner of the tables after `bastion init`: it reads and
-- appends, and can neither change an entry nor take a trigger off. Give it a password, then put it
-- into the store's URL. (The query index is a schema of its own, which it may drop and rebuild.)
CREATE ROLE bastion_gateway LOGIN;
GRANT SELECT, INSERT ON entries TO bastion_gateway;
GRANT SELECT, UPDATE ON head TO bastion_gateway;
GRANT SELECT, INSERT, UPDATE ON customer_heads TO bastion_gateway;
GRANT SELECT, INSERT, DELETE ON openings TO bastion_gateway;
GRANT SELECT, INSERT ON erasures TO bastion_gateway;
GRANT SELECT ON migrations TO bastion_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    settings, operators, officers, approvers, keys, training, customers, services, instances,
    accounts, destinations, tickets, consent_signatures, ticket_uses, sessions, leases, recording_keys, notices,
    proposals, holds, invitations, set_changes, approver_signatures, approver_resets, vm_tokens, revoked_keys
    TO bastion_gateway;
-- Whose rights an auditor's own SQL has (`audit query --sql`): only the views of the query index.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bastion_auditor') THEN
        CREATE ROLE bastion_auditor NOLOGIN;
    END IF;
END $$;
GRANT bastion_auditor TO bastion_gateway;
CREATE SCHEMA IF NOT EXISTS projection AUTHORIZATION bastion_gateway;
