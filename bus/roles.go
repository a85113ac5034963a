package bus

import (
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/rbee-project/rbee/messages"
)

// Role is what a connection may do. The server enforces it: every role has a signing key of its
// own, whose template of permissions holds for all credentials signed with it.
type Role string

// The roles. RoleAdmin is whoever can read the data dir.
const (
	RoleQueen    Role = "queen"
	RoleHive     Role = "hive"
	RoleWorker   Role = "worker"
	RoleClient   Role = "client"
	RoleObserver Role = "observer"
	RoleAdmin    Role = "admin"
)

// Roles lists every role, the most trusted first.
func Roles() []Role {
	return []Role{RoleQueen, RoleAdmin, RoleHive, RoleWorker, RoleClient, RoleObserver}
}

// Caller is who a connection of role r and this name is in subjects.
func (r Role) Caller(name string) messages.Caller { return messages.Caller(string(r) + "-" + name) }

// watched is what everybody but hives and workers may listen to: it holds no prompt and no secret.
var watched = []string{
	messages.HeartbeatWildcard, messages.HiveBeatWildcard, messages.EventWildcard, messages.JobWildcard, "rbee.tick.>",
}

// permissions is the whole table. {{name()}} is the name in the user's JWT. The role is fixed text
// in every inbox, caller and executor: with the name alone a worker that called itself "queen"
// would read the queen's replies.
//
// Workers answer on rbee.reply.<requester>.<worker>.<nonce>, a static grant. Only hives have
// response permissions: the server keeps each reply subject until it expires, which is too dear for
// a worker's many requests. Nobody but the queen may create a consumer or publish into $KV.
func permissions(r Role) jwt.Permissions {
	inbox := "_INBOX_" + string(r) + "_{{name()}}.>"
	do := "rbee.do." + string(r) + "-{{name()}}."
	switch r {
	case RoleQueen:
		return allow([]string{">"}, []string{">"})
	case RoleHive:
		p := allow(
			[]string{"rbee.hive.{{name()}}.beat", "rbee.event.hive.{{name()}}.>", "rbee.job.hive-{{name()}}.>",
				"rbee.tick.hive-{{name()}}.>", do + messages.OpSign, do + messages.OpLocate, messages.HiveReadWildcard},
			[]string{"rbee.hive.{{name()}}.>", "$SRV.>", inbox})
		p.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: time.Hour}
		return p
	case RoleWorker:
		return allow([]string{"rbee.heartbeat.{{name()}}", "rbee.reply.*.{{name()}}.>", do + messages.OpRenew},
			[]string{"rbee.worker.{{name()}}.>", inbox})
	case RoleClient:
		return allow([]string{"rbee.queen.>", do + ">"}, append([]string{inbox}, watched...))
	case RoleAdmin:
		return allow([]string{"rbee.queen.>", do + ">", "$SRV.>", "$JS.API.INFO", "$JS.API.STREAM.LIST",
			"$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>"}, append([]string{inbox}, watched...))
	default:
		return allow([]string{"rbee.queen.>"}, append([]string{inbox}, watched...))
	}
}

func allow(pub, sub []string) jwt.Permissions {
	return jwt.Permissions{Pub: jwt.Permission{Allow: pub}, Sub: jwt.Permission{Allow: sub}}
}
