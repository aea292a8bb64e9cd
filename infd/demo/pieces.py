"""The known words of the tokenizer, most frequent first; ``_`` stands for the space before.

Rules: made by ``python -m infd.demo.tokenizer`` from the wordings, before training, and fixed from
then on: other words would be another vocabulary, and no checkpoint would fit it.
Limits: the last word may be cut short where the vocabulary is full.
"""

from __future__ import annotations

PIECES = """
_you _the _is _that _what _do _me _please _remember _know _my _word _will _to _how _and _in _are
_for _of _not _name _spell Now _tell _from Hey Well Hello _say _way Okay _am _reverse _all _infd
_now _number Please _backwards Could _count Can _on _write And _again _letters So You _with _words
_by _code _model _can _called _answer _give _favourite _add Your _end _should From _which
_operation Would _who _be _work _plus _user _repeat _old _always It _so _food _think Use My _love
_as _colour _numbers _like _does _your _would _questions _this _only _see _note _years What _have
_get _named _favorite _if _following Nice _out _help Hi _meet _reply _friend Listen _thank _demo
_most _language _we _small _best _up _echo _helpful _much _assistant _color _together _message By
_every Just _list _remind _chat _age _each _at _context _about _sum _well _spelling _it _welcome
_live _today _many _right The _friendly How All _may Goodbye _still _forgot _capitals _living _How
_upper _good _close _job _eating _magic _finish _has _models _there _using _polite _was _after
_last _want Type _town _short _session _down _night _sets _secret _people _kind _home _mean
_really _being Always _explain _reversed _makes _exactly _lucky _turned _token Tell _error _these
_command _then _thanks _contexts _cold _city _or _dark Say _speak _day _case _got _show _deep
_compute _song _where _book _exec _spelt _sentences _did _calculate _flip _From _why _time
_describe _written _lost _bye _threads _around _spelled _tokens _start _talk _talking Give _come
Write _respond _week _superuser _need _hot _response
""".split()  # noqa: SIM905
