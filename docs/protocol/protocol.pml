/*
 * The protocol behind the caches, for the model checker Spin: what writers, Postgres, nodes and Redis may do, in every
 * order in which they may do it. What is left out, why, and how to run it: README.md.
 *
 * Promela, as far as it is needed here: every `proctype` runs beside all others, and Spin tries every interleaving of
 * their statements. `if` and `do` take any branch (`::`) whose first statement can run; `do` repeats until `break`.
 * A bare condition waits until it holds. `atomic` and `d_step` are one step to everybody else, and so is a single
 * statement. `inline` is a macro.
 *
 * There is no time. What may be late may be late for ever, and what may be lost is a step that is never taken.
 * `-DNAME` takes out the guard NAME, and Spin must then find a promise broken.
 */
#define NODES  2
#ifndef WRITES
#define WRITES 2
#endif
#define NONE   9 /* no position: later than any */
#ifdef PUBLISH_BEFORE_COMMIT
#define NUMBER_BEFORE_COMMIT /* or there would be nothing to publish */
#endif

/* A set of writes is a mask. A value is the set of the writes that it shows: each changes a row of its own in it, so
 * that transactions need not wait for each other, and commit in any order. */
#define bit(w)               (1 << (w))
#define isWithin(some, all)  (((some) & ~(all)) == 0)

/* ---------------------------------------------------------------------------------------------------- Postgres */
byte open;                  /* writes of transactions that have not ended */
byte committed;             /* writes and, in the same step, their rows in the outbox */
byte concerning;            /* those of them that the cached value depends on; the others only take positions */
byte head;
byte upTo[WRITES + 1];      /* upTo[p]: the writes that have the positions 1 … p */
bool locked;                /* the lock of the numbering */
#define writeAt(p)           (upTo[p] & ~upTo[(p) - 1])
#define unnumbered           (committed & ~upTo[head])

/* ----------------------------------------------------------------------------------------------------- a node */
byte applied[NODES] = NONE; /* NONE: has not made its first check */
byte invalidated[NODES];    /* the position of the key's last invalidation, or the floor */
bool lease[NODES];          /* never ends here: a node without one reads Postgres, where nothing can be stale */
#define isFresh(n, stamp)    ((stamp) != NONE && (stamp) >= invalidated[n])
#define serves(n, stamp)     (lease[n] && isFresh(n, stamp))

/* The life of one cached value, any one: values do not influence each other, so what can befall one of many can befall
 * this one. It stays wherever it has been: eviction answers nothing, and a Redis set back brings back what was. */
byte value;
byte l1[NODES] = NONE;      /* the stamp that it carries in a node's memory */
byte l2 = NONE;             /* and in Redis */

/* ----------------------------------------------------------------------------------------------- the promises */
byte told[NODES];           /* the writes whose invalidation the node has applied, or that its floor covers */

/* The number is what Spin's message names the promise by. */
#define keeps(promise, holds)  assert((holds) || promise == 0)

/* Asserted of every answer but that of a load to whoever began it. 1: no uncommitted value. 3: nothing that was loaded
 * before an invalidation which this node has applied. 5, as far as no token is pending: nothing older than a token that
 * this node has reached. 4 is asserted where a lease is renewed. */
inline answer(n) {
  keeps(1, isWithin(value, committed));
  keeps(3, isWithin(told[n] & concerning, value));
  keeps(5, isWithin(upTo[applied[n]] & committed & concerning, value))
}

/* 2: in the end every node has been told of all that is committed, and stays so. In runs that are fair to the checks: a
 * node that never gets to check serves nothing, either. And with a number of restarts that ends. */
#ifdef LIVENESS
byte restartsLeft = 1;
#define mayRestart           (restartsLeft > 0)
#define restarted            restartsLeft--
ltl everyNodeIsTold { <> [] (told[0] == committed && told[1] == committed) }
#else
#define mayRestart           true
#define restarted            skip
#endif

/* Are the interesting situations reached at all? `-DREACH=NAME` has Spin show how. */
#ifndef REACH
#define REACH                0
#endif
#define HIT_WHILE_STALE_ELSEWHERE   1
#define HIT_BEHIND_A_COMMIT         2
#define HIT_WHILE_A_WRITE_IS_OPEN   3
#define ROLLBACK_WHILE_SERVING      4
#define COPY_REFUSED                5
#define COPY_OLDER_THAN_APPLIED     6
#define COPY_AFTER_RESTART          7
#define LATE_STORE_REFUSED          8
#define FLIGHT_JOINED               9
#define FLIGHT_NOT_JOINED          10
#define HINT_WITH_A_GAP            11
#define GAP_FILLED_BY_CHECK        12
#define CHECK_FINDS_UNNUMBERED     13
#define COMMITTED_OUT_OF_ORDER     14
#define NUMBERED_BESIDE_A_COMMIT   15
#define reached(name)        assert(name != REACH)

/* ------------------------------------------------------------------------------------------------- the writers */

/* `number_outbox` (migrations/1700000000000-kernel.ts): first the lock, then a snapshot; what it numbers is seen when
 * its own transaction commits, and writers may commit in between. Write w has the outbox id w. */
inline number(sees, w) {
  atomic { !locked -> locked = true; sees = unnumbered };
  d_step { give(sees, w) }
}

inline give(sees, w) {
  w = 0;
  do
  :: w < WRITES && (sees & bit(w)) ->
     upTo[head + 1] = upTo[head] | bit(w);
     head++;
     printf("Postgres: write %d has position %d\n", w, head);
     w++
  :: w < WRITES && !(sees & bit(w)) -> w++
  :: w == WRITES -> break
  od;
  if
  :: upTo[1] == bit(1) && upTo[head] == bit(0) + bit(1) -> reached(COMMITTED_OUT_OF_ORDER)
  :: else
  fi;
  w = 0; sees = 0;
  locked = false
}

/* A command: persistence/unit-of-work.ts. One that rolls back may be tried again. */
proctype Writer(byte w) {
  byte sees, i;
  do
  :: atomic {
       open = open | bit(w);
       if
       :: concerning = concerning | bit(w)
#ifndef LIVENESS
       :: skip
#endif
       fi;
#ifdef NUMBER_BEFORE_COMMIT /* as a sequence does */
       upTo[head + 1] = upTo[head] | bit(w);
       head++;
       printf("Postgres: write %d has position %d\n", w, head);
#endif
       printf("write %d: UPDATE, INSERT into the outbox\n", w)
     };
     if
     :: d_step {
          open = open & ~bit(w);
          concerning = concerning & ~bit(w);
          if
          :: serves(0, l1[0]) -> reached(ROLLBACK_WHILE_SERVING)
          :: else
          fi;
          printf("write %d: ROLLBACK\n", w)
        }
#ifdef NUMBER_BEFORE_COMMIT
        break /* and the number is lost */
#endif
     :: d_step {
          open = open & ~bit(w);
          committed = committed | bit(w);
          printf("write %d: COMMIT\n", w)
        };
        break
#ifndef NUMBER_BEFORE_COMMIT
     :: /* numbers in its own transaction, if the lock is free: what it writes is seen together with its position */
        atomic { !locked -> locked = true; sees = unnumbered | bit(w) };
        d_step {
          open = open & ~bit(w);
          committed = committed | bit(w);
          if
          :: unnumbered & ~sees -> reached(NUMBERED_BESIDE_A_COMMIT)
          :: else
          fi;
          printf("write %d: COMMIT, with its number\n", w);
          give(sees, i)
        };
        break
#endif
     fi
  od
}

/* outbox/dispatcher.ts, on behalf of any writer: after COMMIT, or never again, as processes die. All calls wait
 * for one lock, so that one process can stand for all. */
proctype Dispatcher() {
  byte sees, w;
  do
  :: unnumbered -> number(sees, w)
  :: unnumbered -> break
  od
}

/* ----------------------------------------------------------------------------------------------- their readers */

/* journal/applied-journal.ts. 1: nobody is told of a write that is not committed. */
inline apply(n, p, write) {
  keeps(1, isWithin(write, committed));
  applied[n] = p;
  told[n] = told[n] | (write);
  if
  :: (write) & concerning -> invalidated[n] = p
  :: else
  fi
}

#ifdef HINT_WITHOUT_CONTIGUITY
#define continues(n, p)      ((p) > applied[n])
#else
#define continues(n, p)      ((p) == applied[n] + 1)
#endif
#ifdef PUBLISH_BEFORE_COMMIT
#define isPublished(p)       true
#else
#define isPublished(p)       isWithin(writeAt(p), committed)
#endif

/* journal/subscriber.ts, and the dispatcher's own apply. A hint may be lost, late, repeated or overtaken: at any moment
 * one of any position may arrive, or none ever, so no channel need be modelled. One that was applied is skipped. */
proctype Subscriber(byte n) {
  byte p;
  do
  :: atomic {
       applied[n] != NONE && applied[n] < head -> p = applied[n] + 1;
       do
       :: p < head -> p++
       :: break
       od;
       if
       :: isPublished(p) && continues(n, p) ->
          apply(n, p, writeAt(p));
          printf("node %d: a hint brings position %d\n", n, p)
       :: isPublished(p) && !continues(n, p) -> reached(HINT_WITH_A_GAP)
       :: else
       fi;
       p = 0
     }
  od
}

/* journal/staleness-check.ts. A check that fails half-way leaves nothing behind but what a dead writer or a hint could
 * have left, so that failures, and restarts in its middle, need no steps of their own. */
proctype Check(byte n) {
  byte t0, to, p, sees, i;
  do
  :: if /* one snapshot: the head, the rows up to it, and whether any has no number. Before it t0, as late as can be */
#ifdef CHECK_WITHOUT_NUMBERING
     :: atomic { t0 = committed; to = head }
#else
     :: atomic { !unnumbered -> t0 = committed; to = head }
     :: atomic { unnumbered -> reached(CHECK_FINDS_UNNUMBERED); t0 = committed; to = head };
        number(sees, i);
#ifndef FETCH_IN_NUMBERING_SNAPSHOT /* taken before it waited for the lock, so without what others numbered meanwhile */
        to = head
#endif
#endif
     fi;
     atomic { /* the reply, however late: hints may have overtaken it */
       if
       :: applied[n] == NONE -> /* enterEpoch: a floor somewhere, and then what came after it */
          do
          :: p < to -> p++
          :: break
          od;
          applied[n] = p;
          told[n] = upTo[p] & committed;
#ifndef NO_FLOOR_AT_START
          invalidated[n] = p
#endif
       :: else
       fi;
       do
       :: applied[n] < to ->
          reached(GAP_FILLED_BY_CHECK);
          p = applied[n] + 1;
          apply(n, p, writeAt(p) & committed)
       :: else -> break
       od;
#ifdef LEASE_FROM_REPLY
       t0 = committed;
#endif
       /* 4: until t0 + maxStaleness this node serves; what was committed before t0 it has applied. */
       keeps(4, isWithin(t0, told[n]));
       lease[n] = true;
       printf("node %d: a check has applied all up to %d\n", n, to);
       t0 = 0; to = 0; p = 0
     }
  :: d_step {
       lease[n] && mayRestart -> restarted;
       applied[n] = NONE; invalidated[n] = 0;
       lease[n] = false; told[n] = 0; l1[n] = NONE;
       printf("node %d: restarts\n", n)
     }
  od
}

/* ----------------------------------------------------------------------------------------------------- the cache */
#ifndef LIVENESS /* nothing above looks at anything below */

#ifdef JOIN_ANY_FLIGHT
#define mayJoin(n, stamp)    lease[n]
#else
#define mayJoin(n, stamp)    serves(n, stamp)
#endif

/* cache/reads/loader.ts, flights.ts, tiers.ts: one load, begun and stored at any time, and joined meanwhile. It even outlives
 * a restart of its node, which is more than it could. */
proctype Load(byte n) {
  byte stamp;
  d_step {
    lease[n] -> stamp = applied[n]; /* before its first statement */
    printf("node %d: a load begins, stamped %d\n", n, stamp)
  };
  d_step {
#ifdef STORE_IN_TRANSACTION
    value = (committed | open) & concerning;
#else
    value = committed & concerning;
#endif
    printf("node %d: it reads a value that shows the writes {%d}\n", n, value)
  };
  do
  :: d_step { /* somebody asks for the same while it is under way, and gets what it has read */
       mayJoin(n, stamp) -> reached(FLIGHT_JOINED);
       printf("node %d: a caller joins the flight\n", n);
       answer(n)
     }
  :: d_step { lease[n] && !mayJoin(n, stamp) -> reached(FLIGHT_NOT_JOINED) }
  :: break
  od;
#ifdef NO_START_STAMP
  stamp = applied[n];
#endif
  if
  :: d_step { isFresh(n, stamp) -> l1[n] = stamp; printf("node %d: it is stored, stamped %d\n", n, stamp) };
     l2 = stamp /* Redis may get it later */
  :: d_step { !isFresh(n, stamp) -> reached(LATE_STORE_REFUSED) }
  fi
}

/* cache/hybrid-cache.ts: a hit in memory. cache/entries/tiers.ts: a copy from Redis. What is refused is loaded, which is always
 * right. */
proctype Reads(byte n) {
  do
  :: d_step {
       serves(n, l1[n]) ->
       if
       :: lease[1 - n] && !isFresh(1 - n, l1[n]) -> reached(HIT_WHILE_STALE_ELSEWHERE)
       :: else
       fi;
       if
       :: !isWithin(committed & concerning, value) -> reached(HIT_BEHIND_A_COMMIT)
       :: else
       fi;
       if
       :: open & concerning -> reached(HIT_WHILE_A_WRITE_IS_OPEN)
       :: else
       fi;
       printf("node %d: answers it from memory\n", n);
       answer(n)
     }
  :: d_step {
#ifdef COPY_STAMPED_ANEW /* as if it had been loaded now */
       lease[n] && l2 != NONE && l1[n] == NONE -> l1[n] = applied[n];
#else
       serves(n, l2) && l1[n] == NONE -> l1[n] = l2;
#endif
       if
       :: n == 0 -> reached(COPY_AFTER_RESTART) /* the node that has loaded it */
       :: else
       fi;
       if
       :: l2 < applied[n] -> reached(COPY_OLDER_THAN_APPLIED)
       :: else
       fi;
       printf("node %d: copies it from Redis, stamped %d\n", n, l1[n]);
       answer(n)
     }
  :: d_step { lease[n] && l2 != NONE && !isFresh(n, l2) -> reached(COPY_REFUSED) }
  od
}
#endif

init {
  atomic {
    byte w;
    do
    :: w < WRITES -> run Writer(w); w++
    :: else -> break
    od;
    w = 0;
    run Check(0); run Check(1);
    run Dispatcher(); run Subscriber(0); run Subscriber(1);
#ifndef LIVENESS
    run Load(0); run Reads(0); run Reads(1)
#endif
  }
}
