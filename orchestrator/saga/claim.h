/*
 * claim.h - the beginning of a Place call: finds or creates the checkout of its key.
 *
 *   runs here already -> joins      no row -> claimed -> runs
 *   row, finished -> replayed       row, another owner's -> polls
 *   row of another request -> refused
 */
#pragma once

#include "orchestrator/saga/engine.h"
#include "proto/orders.pb-c.h"
#include "rpc/server/server.h"

/* Eventually answers a validated request.  `request` lives as long as the call. */
void claim_place(struct sagas *sagas, struct rpc_call *call,
                 const Orders__V1__PlaceRequest *request,
                 Orders__V1__PlaceReply_Closure reply);
