// A Colyseus room that sends each bytes message on to the others:  node server.mjs PORT ROOM_SIZE
// Seats are reserved over HTTP by benchmarks/relay_ws.py: one room per value of `group`.
import { createServer } from 'node:http';
import { Room, Server } from '@colyseus/core';
import { WebSocketTransport } from '@colyseus/ws-transport';

const [port, roomSize] = process.argv.slice(2).map(Number);

class Relay extends Room {
  onCreate() {
    this.maxClients = roomSize;
    this.patchRate = null; // no shared state, so nothing to send at intervals
    this.seatReservationTimeout = 60;
    this.onMessageBytes('m', (client, bytes) => this.broadcastBytes('m', bytes, { except: client }));
  }
}

const server = new Server({ greet: false, transport: new WebSocketTransport({ server: createServer() }) });
server.define('relay', Relay).filterBy(['group']);
await server.listen(port, '127.0.0.1');
console.log('listening');
