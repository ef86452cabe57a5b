/*
 * claim.h - what a Place call begins with: whose key is it, and is there a checkout yet?
 *
 *   runs here already -> joins      no row -> claimed -> runs
 *   row, finished -> replayed       row, another's -> polls       row, other request -> refused
 */
#pragma once

#include "orchestrator/saga.h"
#include "proto/orders.pb-c.h"
#include "rpc/server/server.h"

/* Takes a validated request to its answer.  `request` lives as long as the call. */
void claim_place(struct sagas *sagas, struct rpc_call *call,
                 const Orders__V1__PlaceRequest *request,
                 Orders__V1__PlaceReply_Closure reply);
